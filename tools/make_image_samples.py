#!/usr/bin/env python3
"""make_image_samples.py: writes tests/data/images, small images of every format that mlxk decodes, and Pillow's results.

expected.json names for each file its size, the SHA-256 of Pillow's pixels (exif_transpose, convert("RGB")) and the EXIF
fields; beside a lossy file lies a PNG of those pixels. Needs Pillow and numpy.
"""
import hashlib
import json
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

DATA = Path(__file__).resolve().parent.parent / "tests/data/images"
WIDTH, HEIGHT = 37, 23


def picture(channels=3, width=WIDTH, height=HEIGHT):
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(channels), indexing="ij")
    return ((x * (3 + c) + y * (5 - c) + (x * y // 16) * (c + 1)) % 256).astype(np.uint8)


RGB = Image.fromarray(picture())


def save(name, image, **options):
    image.save(DATA / name, **options)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(name, samples, bits, color, interlaced=False, more=b""):
    """A PNG of `samples` [H, W, channels], written without filters."""
    height, width = samples.shape[:2]

    def rows(part):
        out = b""
        for line in part:
            if bits == 16:
                out += b"\0" + line.astype(">u2").tobytes()
            elif bits == 8:
                out += b"\0" + line.astype(np.uint8).tobytes()
            else:
                text = "".join(f"{v:0{bits}b}" for v in line.reshape(-1))
                text += "0" * (-len(text) % 8)
                out += b"\0" + bytes(int(text[i:i + 8], 2) for i in range(0, len(text), 8))
        return out

    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)] if interlaced else [(0, 0, 1, 1)]
    data = b"".join(rows(samples[y::dy, x::dx]) for x, y, dx, dy in passes if samples[y::dy, x::dx].size)
    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, int(interlaced))
    (DATA / name).write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + more + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b""))


def bmp(name, bits, rows, compression=0, palette=b"", masks=b"", height=HEIGHT, width=WIDTH):
    begin = 14 + 40 + len(masks) + len(palette)
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(rows), 0, 0, len(palette) // 4, 0)
    (DATA / name).write_bytes(struct.pack("<2sIHHI", b"BM", begin + len(rows), 0, 0, begin) + header + masks + palette + rows)


def exif(orientation=1, gps=True, original=True, stamp=True):
    data = Image.Exif()
    data[274] = orientation
    data[272] = "Pocket 3 (second edition)"
    if original:
        data.get_ifd(0x8769)[36867] = "2024:02:29 10:11:12"
    if gps:
        position = {1: "S", 2: (33.0, 51.0, 35.9), 3: "E", 4: (151.0, 12.0, 40.0)}
        if stamp:
            position |= {7: (1.0, 2.0, 3.0), 29: "2024:03:01"}
        data.get_ifd(0x8825).update(position)
    return data.tobytes()


def make():
    DATA.mkdir(parents=True, exist_ok=True)
    for old in DATA.iterdir():
        old.unlink()
    for name, options in {"420": {"subsampling": 2}, "422": {"subsampling": 1}, "444": {"subsampling": 0, "quality": 95},
                          "progressive": {"progressive": True}, "restart": {"restart_marker_blocks": 2}}.items():
        save(f"jpeg-{name}.jpg", RGB, **options)
    save("jpeg-gray.jpg", RGB.convert("L"))
    save("jpeg-cmyk.jpg", RGB.convert("CMYK"))
    for orientation in range(1, 9):
        save(f"jpeg-orientation-{orientation}.jpg", RGB, exif=exif(orientation))
    save("jpeg-original-date.jpg", RGB, exif=exif(gps=False))
    save("jpeg-no-gps-date.jpg", RGB, exif=exif(stamp=False))

    for color, channels in (("L", 1), ("LA", 2), ("RGB", 3), ("RGBA", 4)):
        for interlaced in (False, True):
            for bits in (8, 16):
                wide = picture(channels).astype(np.int64) * (257 if bits == 16 else 1)
                wide[0, :4] = [[0], [1], [200], [255]]
                kind = {"L": 0, "LA": 4, "RGB": 2, "RGBA": 6}[color]
                png(f"png-{color}-{bits}{'-interlaced' if interlaced else ''}.png", wide, bits, kind, interlaced)
    for bits in (1, 2, 4):
        gray = picture(1) >> (8 - bits)
        png(f"png-L-{bits}.png", gray, bits, 0)
        png(f"png-L-{bits}-interlaced.png", gray, bits, 0, True)
    for bits in (1, 2, 4, 8):
        palette = np.random.default_rng(bits).integers(0, 256, 3 << bits).astype(np.uint8).tobytes()
        more = chunk(b"PLTE", palette) + (chunk(b"tRNS", b"\0\x80") if bits != 2 else b"")
        png(f"png-P-{bits}.png", picture(1) >> (8 - bits), bits, 3, bits == 4, more)
    png("png-RGB-transparent.png", picture(), 8, 2, False, chunk(b"tRNS", struct.pack(">HHH", 0, 0, 0)))
    png("png-L-16-transparent.png", picture(1).astype(np.int64) * 3, 16, 0, False, chunk(b"tRNS", struct.pack(">H", 6)))
    png("png-exif.png", picture(), 8, 2, False, chunk(b"eXIf", exif(6)[6:] if exif(6).startswith(b"Exif") else exif(6)))

    save("webp-lossy.webp", RGB, quality=80)
    save("webp-lossless.webp", RGB, lossless=True)
    save("webp-alpha.webp", Image.fromarray(picture(4)), quality=70)
    save("webp-alpha-lossless.webp", Image.fromarray(picture(4)), lossless=True, exact=True)
    save("webp-animated.webp", RGB, save_all=True, append_images=[RGB.rotate(180)], lossless=True)
    save("webp-exif.webp", RGB, lossless=True, exif=exif(8))

    save("gif.gif", RGB.quantize(64))
    save("gif-transparent.gif", RGB.quantize(64), transparency=5)
    save("gif-animated.gif", RGB.quantize(32), save_all=True, append_images=[RGB.rotate(180).quantize(32)])
    small = Image.fromarray(picture(3, 9, 7)).quantize(16)
    save("gif-part.gif", small, interlace=0)
    data = bytearray((DATA / "gif-part.gif").read_bytes())
    data[6:10] = struct.pack("<HH", 20, 15)
    at = data.index(b",", 13 + 48)
    data[at + 1:at + 5] = struct.pack("<HH", 3, 2)
    (DATA / "gif-part.gif").write_bytes(data)

    for mode in ("1", "L", "P", "RGB", "RGBA"):
        image = Image.fromarray(picture(4)) if mode == "RGBA" else RGB.quantize(200) if mode == "P" else RGB.convert(mode)
        save(f"bmp-{mode}.bmp", image)
    palette = np.random.default_rng(4).integers(0, 256, 64).astype(np.uint8).tobytes()
    words = (np.arange(WIDTH * HEIGHT).reshape(HEIGHT, WIDTH) * 77 % 65536).astype("<u2")
    padded = np.pad(words, ((0, 0), (0, 1)))
    bmp("bmp-555.bmp", 16, padded.tobytes())
    bmp("bmp-565.bmp", 16, padded.tobytes(), 3, masks=struct.pack("<III", 0xf800, 0x7e0, 0x1f))
    nibbles = (picture(1)[..., 0] >> 4)
    rows = np.pad(nibbles, ((0, 0), (0, 3)))
    bmp("bmp-4.bmp", 4, (rows[:, ::2] << 4 | rows[:, 1::2]).astype(np.uint8).tobytes(), palette=palette)
    down = np.pad(picture()[..., ::-1].reshape(HEIGHT, -1), ((0, 0), (0, 1)))
    bmp("bmp-top-down.bmp", 24, down.tobytes(), height=-HEIGHT)
    runs = b""
    for line in picture(1)[..., 0] >> 4:
        runs += b"\x05" + bytes([line[5]]) + b"\0\x20" + line[5:].tobytes()[:32] + b"\0\0"
    bmp("bmp-rle8.bmp", 8, runs + b"\0\1", 1, palette=palette)

    for mode in ("1", "L", "LA", "RGB", "RGBA", "CMYK"):
        image = {"RGBA": Image.fromarray(picture(4)), "LA": Image.fromarray(picture(2), "LA")}.get(mode) or RGB.convert(mode)
        save(f"tiff-{mode}.tif", image, compression=None)
    save("tiff-lzw.tif", RGB, compression="tiff_lzw")
    save("tiff-deflate.tif", RGB, compression="tiff_adobe_deflate")
    save("tiff-packbits.tif", RGB, compression="packbits")
    save("tiff-16.tif", Image.fromarray(picture(1)[..., 0].astype(np.uint16) * 3))

    expected = {}
    for path in sorted(DATA.iterdir()):
        image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
        pixels = np.asarray(image)
        entry = {"width": image.width, "height": image.height, "sha256": hashlib.sha256(pixels.tobytes()).hexdigest()}
        if path.suffix == ".jpg" or path.name in ("webp-lossy.webp", "webp-alpha.webp"):
            png(path.name + ".png", pixels, 8, 2)
            entry["pixels"] = path.name + ".png"
        expected[path.name] = entry
    for name in expected:
        if "orientation" in name or name in ("png-exif.png", "webp-exif.webp"):
            expected[name] |= {"latitude": -(33 + 51 / 60 + 35.9 / 3600), "longitude": 151 + 12 / 60 + 40 / 3600,
                               "date": "2024-03-01", "camera": "Pocket 3 (second edition)"}
    expected["jpeg-original-date.jpg"] |= {"date": "2024-02-29", "camera": "Pocket 3 (second edition)"}
    expected["jpeg-no-gps-date.jpg"] |= {"latitude": -(33 + 51 / 60 + 35.9 / 3600), "longitude": 151 + 12 / 60 + 40 / 3600,
                                         "date": "2024-02-29", "camera": "Pocket 3 (second edition)"}
    (DATA / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    print(len(expected), "images")


if __name__ == "__main__":
    make()
