#!/usr/bin/env python3
"""make_vision_goldens.py [FAMILY…]: writes tests/data/vision from transformers and Pillow (all families without one named).

Needs transformers 5.24, torch, torchvision and Pillow. A case is a model's settings, the size of an image that
picture() draws, the text in place of the placeholder, the shape and the grid of the values, and values at a stride.
"""
import hashlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from PIL import Image

DATA = Path(__file__).resolve().parent.parent / "tests/data/vision"
SAMPLES = 48


def picture(width, height):
    """The picture that vision_test.cpp draws: slopes, and edges where they wrap."""
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    return Image.fromarray(((x * (3 + c) + y * (5 - c) + (x * y // 16) * (c + 1)) % 256).astype(np.uint8))


def values_of(values):
    """An array in the form that the tests compare."""
    flat = np.ascontiguousarray(values, dtype=np.float32).reshape(-1)
    step = max(1, flat.size // SAMPLES)
    return {"step": step, "samples": [float(f"{v:.7g}") for v in flat[::step]], "mean": float(flat.astype(np.float64).mean())}


def case(settings, size, values, grid, text):
    return {"settings": settings, "width": size[0], "height": size[1], "shape": list(values.shape),
            "grid": [int(n) for n in grid], "text": text, **values_of(values)}


def write(name, cases):
    DATA.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(c, ensure_ascii=False) for c in cases)
    (DATA / f"{name}.json").write_text(f"[\n{lines}\n]\n")
    print(name, len(cases), "cases")


def settings(config, image, processor=None):
    return {"config.json": config, "preprocessor_config.json": image, **({"processor_config.json": processor} if processor else {})}


def last(tiles):
    """[…, C, H, W] → […, H, W, C]."""
    return np.moveaxis(np.asarray(tiles, dtype=np.float32), -3, -1)


def resizes():
    names = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}
    cases = []
    for width, height, to in ((321, 200, (64, 48)), (97, 411, (224, 100)), (3, 2, (50, 70)), (640, 480, (641, 5)),
                              (200, 300, (200, 31)), (200, 300, (17, 300)), (1, 1, (9, 4)), (1000, 7, (1, 1))):
        for name, number in names.items():
            result = np.asarray(picture(width, height).resize(to, number))
            cases.append({"filter": number, "width": width, "height": height, "to": to,
                          "sha256": hashlib.sha256(result.tobytes()).hexdigest()})
    write("resize", cases)
    import torch
    from torch.nn.functional import interpolate
    cases = []
    for width, height, to in ((321, 200, (64, 48)), (97, 41, (224, 100)), (3, 2, (50, 70))):
        pixels = torch.from_numpy(np.asarray(picture(width, height)).astype(np.float32) / 255).permute(2, 0, 1)[None]
        for kind, mode, antialias in (("bilinear", "bilinear", True), ("bicubic", "bicubic", True), ("torch", "bicubic", False)):
            result = interpolate(pixels, size=to[::-1], mode=mode, antialias=antialias, align_corners=False)
            cases.append({"kind": kind, "width": width, "height": height, "to": to,
                          **values_of(last(result[0].numpy()))})
    write("float_resize", cases)


SIZES = ((321, 200), (97, 411), (60, 60), (700, 250))


def idefics3():
    from transformers.models.idefics3.image_processing_pil_idefics3 import Idefics3ImageProcessorPil
    from transformers.models.smolvlm.processing_smolvlm import get_image_prompt_string
    cases = []
    for split, sizes in ((True, SIZES + ((20, 900),)), (False, SIZES[:2])):
        image = {"size": {"longest_edge": 224}, "max_image_size": {"longest_edge": 56}, "do_image_splitting": split, "resample": 1}
        config = {"model_type": "idefics3", "scale_factor": 2, "vision_config": {"image_size": 56, "patch_size": 14}}
        for size in sizes:
            out = Idefics3ImageProcessorPil(**image)(picture(*size), return_row_col_info=True)
            rows, cols = out["rows"][0][0], out["cols"][0][0]
            text = get_image_prompt_string(rows, cols, 4, "<fake_token_around_image>", "<image>", "<global-img>")
            cases.append(case(settings(config, image), size, last(out["pixel_values"][0]), (rows, cols), text))
    write("idefics3", cases)


def llava():
    from transformers import LlavaProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
    from transformers.models.llava.image_processing_pil_llava import LlavaImageProcessorPil
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
    cases = []
    clip = {"image_size": 56, "patch_size": 14, "model_type": "clip_vision_model"}
    siglip = {"image_size": 56, "patch_size": 14, "model_type": "siglip_vision_model"}
    edge = {"size": {"shortest_edge": 56}, "crop_size": {"height": 56, "width": 56}}
    for kind, image, vision, strategy, extra in (
            (CLIPImageProcessorPil, edge, clip, "default", 1),
            (CLIPImageProcessorPil, {**edge, "crop_size": {"height": 70, "width": 42}}, clip, "full", 1),
            (SiglipImageProcessorPil, {"size": {"height": 56, "width": 56}, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}, siglip, "full", 0),
            (LlavaImageProcessorPil, {**edge, "do_pad": True, "do_center_crop": True}, clip, "default", 1)):
        for size in SIZES[:3]:
            out = kind(**image)(picture(*size))
            maker = SimpleNamespace(patch_size=14, num_additional_image_tokens=extra, image_token="<image>",
                                    vision_feature_select_strategy=strategy)
            text = LlavaProcessor.replace_image_token(maker, out, 0)
            config = {"model_type": "llava", "vision_config": vision, "vision_feature_select_strategy": strategy}
            cases.append(case(settings(config, image), size, last(out["pixel_values"]), (), text))
    write("llava", cases)


def pixtral():
    from transformers import PixtralProcessor
    from transformers.models.pixtral.image_processing_pil_pixtral import PixtralImageProcessorPil
    cases = []
    for kind, merge in (("llava", 1), ("mistral3", 2)):
        image = {"size": {"longest_edge": 112}, "patch_size": {"height": 14, "width": 14}}
        processor = {"patch_size": 14, "spatial_merge_size": merge}
        config = {"model_type": kind, "spatial_merge_size": merge, "vision_config": {"model_type": "pixtral", "patch_size": 14}}
        for size in SIZES + ((13, 900),):
            out = PixtralImageProcessorPil(**image)(picture(*size), patch_size=14 * merge)
            maker = SimpleNamespace(**processor, image_token="[IMG]", image_break_token="[IMG_BREAK]", image_end_token="[IMG_END]")
            text = PixtralProcessor.replace_image_token(maker, out, 0)
            values = last(out["pixel_values"])
            cases.append(case(settings(config, image, processor), size, values, (values.shape[1] // 14, values.shape[2] // 14), text))
    write("pixtral", cases)


def qwen_vl():
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
    cases = []
    for kind, image in (("qwen2_vl", {"min_pixels": 3136, "max_pixels": 50176, "patch_size": 14}),
                        ("qwen2_5_vl", {"size": {"shortest_edge": 50000, "longest_edge": 80000}, "patch_size": 14}),
                        ("qwen3_vl", {"size": {"shortest_edge": 4096, "longest_edge": 60000}, "patch_size": 16,
                                      "image_mean": [0.5] * 3, "image_std": [0.5] * 3})):
        for size in SIZES + ((9, 700),):
            out = Qwen2VLImageProcessorPil(**image)(picture(*size))
            grid = out["image_grid_thw"][0]
            p = image["patch_size"]
            rows = np.asarray(out["pixel_values"]).reshape(-1, 3, 2, p * p)
            assert (rows[:, :, 0] == rows[:, :, 1]).all()
            text = "<|image_pad|>" * (int(grid.prod()) // 4)
            cases.append(case(settings({"model_type": kind}, image), size, rows[:, :, 0].reshape(len(rows), -1), grid, text))
    write("qwen_vl", cases)


def gemma3():
    from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
    from transformers import Gemma3Processor
    cases = []
    for pan, sizes in ((False, SIZES[:3]), (True, SIZES + ((600, 900),))):
        image = {"size": {"height": 56, "width": 56}, "do_pan_and_scan": pan, "pan_and_scan_min_crop_size": 60,
                 "pan_and_scan_max_num_crops": 4, "pan_and_scan_min_ratio_to_activate": 1.2, "image_seq_length": 4}
        for size in sizes:
            out = Gemma3ImageProcessorPil(**image)(picture(*size))
            sequence = "\n\n<start_of_image>" + "<image_soft_token>" * 4 + "<end_of_image>\n\n"
            text = Gemma3Processor.replace_image_token(SimpleNamespace(full_image_sequence=sequence), out, 0)
            cases.append(case(settings({"model_type": "gemma3"}, image), size, last(out["pixel_values"]), (), text))
    write("gemma3", cases)


def paligemma():
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
    image = {"size": {"height": 56, "width": 56}, "resample": 3, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    cases = []
    for size in SIZES[:3]:
        out = SiglipImageProcessorPil(**image)(picture(*size))
        config = {"model_type": "paligemma", "vision_config": {"image_size": 56, "patch_size": 14}}
        cases.append(case(settings(config, {**image, "image_seq_length": 16}), size, last(out["pixel_values"]), (), "<image>" * 16))
    write("paligemma", cases)


def gemma3n():
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil
    image = {"size": {"height": 64, "width": 64}, "resample": 2, "do_normalize": False, "image_seq_length": 4}
    cases = []
    for size in SIZES[:3]:
        out = SiglipImageProcessorPil(**image)(picture(*size))
        text = "\n\n<start_of_image>" + "<image_soft_token>" * 4 + "<end_of_image>\n\n"
        cases.append(case(settings({"model_type": "gemma3n"}, image), size, last(out["pixel_values"]), (), text))
    write("gemma3n", cases)


def gemma4():
    from transformers import Gemma4Processor
    from transformers.models.gemma4.image_processing_pil_gemma4 import Gemma4ImageProcessorPil
    image = {"patch_size": 4, "max_soft_tokens": 70, "pooling_kernel_size": 3}
    cases = []
    for size in SIZES + ((9, 2000), (2000, 9)):
        out = Gemma4ImageProcessorPil(**image)(picture(*size))
        positions = np.asarray(out["image_position_ids"][0])
        used = positions[:, 0] >= 0
        maker = SimpleNamespace(boi_token="<|image>", image_token="<|image|>", eoi_token="<image|>")
        text = Gemma4Processor.replace_image_token(maker, out, 0)
        cols, rows = positions.max(0) + 1
        cases.append(case(settings({"model_type": "gemma4"}, image), size, np.asarray(out["pixel_values"][0])[used], (rows, cols), text))
    write("gemma4", cases)


def internvl():
    from transformers import AyaVisionProcessor, InternVLProcessor
    from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import GotOcr2ImageProcessorPil, get_optimal_tiled_canvas
    cases = []
    image = {"size": {"height": 28, "width": 28}, "max_patches": 6, "crop_to_patches": True,
             "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
    for kind in ("internvl", "internvl_chat", "aya_vision"):
        half = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3} if kind == "aya_vision" else {}
        image = {**image, **half}
        for size in SIZES + ((20, 200), (40, 50)):
            out = GotOcr2ImageProcessorPil(**image)(picture(*size))
            cols, rows = get_optimal_tiled_canvas(size[::-1], (28, 28), 1, 6)
            if kind == "aya_vision":
                maker = SimpleNamespace(img_size=28, patch_size=14, start_of_img_token="<|START_OF_IMG|>", tile_token="TILE",
                                        end_of_img_token="<|END_OF_IMG|>", img_patch_token="<|IMG_PATCH|>", tile_global_token="TILE_GLOBAL")
                text = AyaVisionProcessor.replace_image_token(maker, out, 0)
                files = settings({"model_type": kind}, image, {"patch_size": 14, "img_size": 28})
            else:
                maker = SimpleNamespace(start_image_token="<img>", image_token="<IMG_CONTEXT>", end_image_token="</img>", image_seq_length=1)
                text = InternVLProcessor.replace_image_token(maker, out, 0)
                config = {"model_type": kind, "downsample_ratio": 0.5, "vision_config": {"image_size": 28, "patch_size": 14}}
                files = settings(config, image)
            cases.append(case(files, size, last(out["pixel_values"]), (rows, cols), text))
    write("internvl", cases)


def llava_next():
    from transformers import LlavaNextProcessor
    from transformers.image_processing_utils import select_best_resolution
    from transformers.models.llava_next.image_processing_pil_llava_next import LlavaNextImageProcessorPil
    pins = [[56, 112], [112, 56], [112, 112], [168, 56], [56, 168]]
    image = {"size": {"shortest_edge": 56}, "crop_size": {"height": 56, "width": 56}, "image_grid_pinpoints": pins}
    config = {"model_type": "llava_next", "vision_config": {"model_type": "clip_vision_model", "image_size": 56, "patch_size": 14},
              "image_grid_pinpoints": pins, "vision_feature_select_strategy": "default"}
    cases = []
    for size in SIZES + ((33, 31), (101, 100), (900, 20)):
        out = LlavaNextImageProcessorPil(**image)(picture(*size))
        maker = LlavaNextProcessor.__new__(LlavaNextProcessor)
        maker.image_processor = SimpleNamespace(image_grid_pinpoints=pins)
        maker.patch_size, maker.num_additional_image_tokens, maker.image_token = 14, 1, "<image>"
        maker.vision_feature_select_strategy = "default"
        text = maker.replace_image_token(out, 0)
        height, width = select_best_resolution(size[::-1], pins)
        cases.append(case(settings(config, image), size, last(out["pixel_values"][0]), (height // 56, width // 56, size[1], size[0]), text))
    write("llava_next", cases)


def idefics2():
    from transformers.models.idefics2.image_processing_pil_idefics2 import Idefics2ImageProcessorPil
    cases = []
    for split in (False, True):
        image = {"size": {"shortest_edge": 40, "longest_edge": 100}, "do_image_splitting": split}
        for size in SIZES[:4] + ((71, 45),):
            out = Idefics2ImageProcessorPil(**image)(picture(*size))
            masks = np.asarray(out["pixel_attention_mask"][0])
            sizes = [int(n) for mask in masks for n in (mask[:, 0].sum(), mask[0].sum())]
            fake = "<fake_token_around_image>"
            text = (fake + "<image>" * 3 + fake) * (5 if split else 1)
            text = text.replace(fake + fake, fake)
            cases.append(case(settings({"model_type": "idefics2"}, image, {"image_seq_len": 3}), size, last(out["pixel_values"][0]), sizes, text))
    write("idefics2", cases)


def lfm2_vl():
    from transformers import Lfm2VlImageProcessor, Lfm2VlProcessor
    cases = []
    for more in ({}, {"use_thumbnail": False}, {"do_image_splitting": False}):
        image = {"tile_size": 64, "max_tiles": 6, "min_image_tokens": 4, "max_image_tokens": 16, "encoder_patch_size": 8, **more}
        for size in SIZES + ((30, 25),):
            processor = Lfm2VlImageProcessor(**image)
            out = processor(picture(*size), return_row_col_info=True, return_tensors="pt")
            maker = Lfm2VlProcessor.__new__(Lfm2VlProcessor)
            maker.image_processor, maker.image_token, maker.image_start_token = processor, "<image>", "<|image_start|>"
            maker.image_end_token, maker.image_thumbnail_token = "<|image_end|>", "<|img_thumbnail|>"
            text = maker.replace_image_token(out, 0, use_image_special_tokens=True)
            used = out["pixel_attention_mask"].bool()
            cases.append(case(settings({"model_type": "lfm2_vl"}, image), size, out["pixel_values"][used].numpy(),
                              out["spatial_shapes"].reshape(-1).tolist(), text))
    write("lfm2_vl", cases)


def mllama():
    from transformers.models.mllama.image_processing_pil_mllama import MllamaImageProcessorPil, get_optimal_tiled_canvas
    image = {"size": {"height": 56, "width": 56}, "max_image_tiles": 4}
    cases = []
    for size in SIZES + ((30, 20), (57, 56), (3, 400)):
        out = MllamaImageProcessorPil(**image)(picture(*size))
        height, width = get_optimal_tiled_canvas(size[1], size[0], 4, 56)
        rows, cols = height // 56, width // 56
        values = last(out["pixel_values"][0][0])[:rows * cols]
        cases.append(case(settings({"model_type": "mllama"}, image), size, values, (rows, cols), "<|image|>"))
    write("mllama", cases)


def llama4():
    from transformers import Llama4ImageProcessor, Llama4Processor
    image = {"size": {"height": 56, "width": 56}, "max_patches": 8}
    cases = []
    for size in SIZES + ((30, 20), (57, 56), (3, 400)):
        out = Llama4ImageProcessor(**image)(picture(*size), return_tensors="pt")
        maker = Llama4Processor.__new__(Llama4Processor)
        maker.patch_size, maker.downsample_ratio = 14, 4
        text = maker.replace_image_token(out, 0)
        grid = [int(n) for n in out["aspect_ratios"][0]]
        files = settings({"model_type": "llama4"}, image, {"patch_size": 14, "pixel_shuffle_ratio": 0.5})
        cases.append(case(files, size, last(out["pixel_values"].float().numpy()), grid, text))
    write("llama4", cases)


def glm4v():
    from transformers.models.glm4v.image_processing_pil_glm4v import Glm4vImageProcessorPil
    image = {"size": {"shortest_edge": 12544, "longest_edge": 120000}, "patch_size": 14}
    cases = []
    for size in SIZES + ((9, 300), (20, 20)):
        out = Glm4vImageProcessorPil(**image)(picture(*size))
        grid = out["image_grid_thw"][0]
        rows = np.asarray(out["pixel_values"]).reshape(-1, 3, 2, 196)
        text = "<|image|>" * (int(grid.prod()) // 4)
        cases.append(case(settings({"model_type": "glm4v"}, image), size, rows[:, :, 0].reshape(len(rows), -1), grid, text))
    write("glm4v", cases)


def minicpmv4_6():
    from transformers.models.minicpmv4_6.image_processing_pil_minicpmv4_6 import MiniCPMV4_6ImageProcessorPil
    from transformers.models.minicpmv4_6.processing_minicpmv4_6 import MiniCPMV4_6Processor
    cases = []
    for mode, divisor in (("16x", 16), ("4x", 4)):
        image = {"max_slice_nums": 5, "scale_resolution": 112, "patch_size": 14, "downsample_mode": mode}
        for size in SIZES + ((400, 40), (113, 112)):
            out = MiniCPMV4_6ImageProcessorPil(**image)(picture(*size))
            maker = SimpleNamespace(image_start_token="<image>", image_end_token="</image>", image_token="<|image_pad|>",
                                    slice_start_token="<slice>", slice_end_token="</slice>", slice_mode=True)
            out["target_sizes"] = np.asarray(out["target_sizes"])
            text = "<image_id></image_id>" + MiniCPMV4_6Processor.replace_image_token(maker, out, 0, image_token_divisor=divisor)
            wide = np.asarray(out["pixel_values"][0])  # [3, 14, patches * 14]
            patches = wide.reshape(3, 14, -1, 14).transpose(2, 0, 1, 3)
            cases.append(case(settings({"model_type": "minicpmv4_6"}, image), size, patches.reshape(len(patches), -1),
                              out["target_sizes"].reshape(-1), text))
    write("minicpmv4_6", cases)


def kimi_vl():
    """Moonshot's processor, by its description."""
    import math
    image = {"in_token_limit": 60, "patch_size": 14, "pad_input": True, "merge_kernel_size": [2, 2]}
    cases = []
    for pad in (True, False):
        image = {**image, "pad_input": pad}
        for size in SIZES + ((113, 112),):
            pixels = picture(*size)
            patches = (size[0] // 14) * (size[1] // 14)
            if patches > 60:
                scale = math.sqrt(60 / patches)
                pixels = pixels.resize((int(size[0] * scale), int(size[1] * scale)), Image.BICUBIC)
            width, height = pixels.size
            if pad:
                sheet = Image.new("RGB", (width + -width % 28, height + -height % 28))
                sheet.paste(pixels, (0, 0))
            else:
                left, top = width % 28 // 2, height % 28 // 2
                sheet = pixels.crop((left, top, left + width // 28 * 28, top + height // 28 * 28))
            values = ((np.asarray(sheet).astype(np.float32) / 255 - 0.5) / 0.5).transpose(2, 0, 1)
            rows, cols = sheet.height // 14, sheet.width // 14
            values = values.reshape(3, rows, 14, cols, 14).transpose(1, 3, 0, 2, 4).reshape(rows * cols, -1)
            cases.append(case(settings({"model_type": "kimi_vl"}, image), size, values, (rows, cols), "<|media_pad|>" * (rows * cols // 4)))
    write("kimi_vl", cases)


CLIP = (np.array([0.48145466, 0.4578275, 0.40821073], np.float32), np.array([0.26862954, 0.26130258, 0.27577711], np.float32))


def phi3_v():
    """Microsoft's processor, by its description."""
    import math
    import torch
    image = {"num_crops": 4}
    cases = []
    for size in ((700, 250), (321, 200), (97, 411)):
        pixels = picture(*size)
        stood = pixels.width < pixels.height
        if stood:
            pixels = pixels.transpose(Image.Transpose.TRANSPOSE)
        ratio, scale = pixels.width / pixels.height, 1
        while scale * math.ceil(scale / ratio) <= 4:
            scale += 1
        width = (scale - 1) * 336
        pixels = pixels.resize((width, int(width / ratio)), Image.BILINEAR)
        sheet = Image.new("RGB", (width, math.ceil(pixels.height / 336) * 336), (255, 255, 255))
        sheet.paste(pixels, (0, (sheet.height - pixels.height) // 2))
        if stood:
            sheet = sheet.transpose(Image.Transpose.TRANSPOSE)
        values = (np.asarray(sheet).astype(np.float32) / 255 - CLIP[0]) / CLIP[1]
        whole = torch.nn.functional.interpolate(torch.from_numpy(values).permute(2, 0, 1)[None], size=(336, 336), mode="bicubic")
        rows, cols = sheet.height // 336, sheet.width // 336
        tiles = values.reshape(rows, 336, cols, 336, 3).transpose(0, 2, 1, 3, 4).reshape(-1, 336, 336, 3)
        values = np.concatenate([last(whole.numpy()), tiles])
        count = (rows * cols + 1) * 144 + 1 + (rows + 1) * 12
        cases.append(case(settings({"model_type": "phi3_v"}, image), size, values, (rows, cols), "<|endoftext|>" * count))
    write("phi3_v", cases)


def molmo(source=None):
    """Ai2's processor, by mlx-vlm's (of which MLX_VLM names the folder) with a resize of floats and the bos."""
    import importlib.util
    import os
    import torch
    import torchvision
    spec = importlib.util.spec_from_file_location("processing_molmo", Path(os.environ["MLX_VLM"]) / "models/molmo/processing_molmo.py")
    text = Path(spec.origin).read_text()
    text = text[:text.index("class MolmoProcessor")]
    text = "\n".join(line for line in text.split("\n") if not line.startswith(("from ..", "import mlx", "from mlx")))
    module = {}
    exec(compile(text, spec.origin, "exec"), module)

    def resize_and_pad(image, desired_output_size, pad_value=0, normalize=True, image_mean=None, image_std=None):
        height, width = image.shape[:2]
        scale = min(np.float32(desired_output_size[1]) / np.float32(width), np.float32(desired_output_size[0]) / np.float32(height))
        scaled = [int(np.float32(height) * scale), int(np.float32(width) * scale)]
        tensor = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
        tensor = torchvision.transforms.Resize(scaled, torchvision.transforms.InterpolationMode.BILINEAR, antialias=True)(tensor)
        result = torch.clip(tensor, 0.0, 1.0).permute(1, 2, 0).numpy()
        top, left = (desired_output_size[0] - scaled[0]) // 2, (desired_output_size[1] - scaled[1]) // 2
        padding = [[top, desired_output_size[0] - scaled[0] - top], [left, desired_output_size[1] - scaled[1] - left], [0, 0]]
        mask = np.pad(np.ones_like(result[:, :, 0], dtype=bool), padding[:2])
        return module["normalize_image"](np.pad(result, padding), image_mean, image_std), mask

    module["resize_and_pad"] = resize_and_pad
    cases = []
    for size in ((321, 200), (97, 411), (700, 250)):
        image = {"max_crops": 4}
        processor = module["MolmoImageProcessor"](**image)
        patches, tokens, index, mask = processor.preprocess(np.asarray(picture(*size)).astype(np.float32) / 255, 0, 1, 2, 3)
        text = "".join(["<im_patch>", "<im_col>", "<im_start>", "<im_end>"][int(t)] for t in tokens)
        order = {int(at): i for i, at in enumerate(np.nonzero(np.asarray(tokens) == 0)[0])}
        padding = np.where(mask == 0, 0, np.where(mask == 1, 2, 1)).reshape(-1)
        grid = [len(patches)] + [order.get(int(at), -1) for at in index.reshape(-1)] + padding.tolist()
        cases.append(case(settings({"model_type": "molmo"}, image), size, patches, grid, text))
    write("molmo", cases)


def deepseekocr():
    """DeepSeek's own processing, by its description."""
    import torch
    from PIL import ImageOps
    from transformers.models.got_ocr2.image_processing_pil_got_ocr2 import get_optimal_tiled_canvas
    half = lambda pixels: torch.from_numpy((np.asarray(pixels).astype(np.float32) / 255 - 0.5) / 0.5).bfloat16().float().numpy()
    cases = []
    for size in ((321, 200), (97, 811), (900, 250)):
        pixels = picture(*size)
        cols, rows = (1, 1) if max(size) <= 640 else get_optimal_tiled_canvas(size[::-1], (640, 640), 2, 9)
        values = [half(ImageOps.pad(pixels, (1024, 1024), color=(127, 127, 127))).reshape(-1)]
        count = 17 * 16 + 1
        if cols * rows > 1:
            sheet = half(pixels.resize((640 * cols, 640 * rows)))
            values.append(sheet.reshape(rows, 640, cols, 640, 3).transpose(0, 2, 1, 3, 4).reshape(-1))
            count += (10 * cols + 1) * 10 * rows
        cases.append(case(settings({"model_type": "deepseekocr"}, {}), size, np.concatenate(values), (1024, 640, cols, rows), "<image>" * count))
    write("deepseekocr", cases)


def florence2():
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
    image = {"size": {"height": 64, "width": 64}, "resample": 3, "do_center_crop": False, "image_mean": [0.485, 0.456, 0.406],
             "image_std": [0.229, 0.224, 0.225]}
    cases = []
    for size in SIZES[:3]:
        out = CLIPImageProcessorPil(**image)(picture(*size))
        files = settings({"model_type": "florence2"}, {**image, "image_seq_length": 5})
        cases.append(case(files, size, last(out["pixel_values"]), (), "<image>" * 5))
    write("florence2", cases)
    from unittest.mock import MagicMock, patch
    from transformers import Florence2Processor
    with patch("transformers.processing_utils.ProcessorMixin.__init__"):
        maker = Florence2Processor(MagicMock(image_seq_length=5), MagicMock(image_token="<image>", bos_token="<s>", eos_token="</s>"))
    tasks = [*maker.task_prompts_without_inputs, *(f"{task} a red car " for task in maker.task_prompts_with_input),
             "the <OPEN_VOCABULARY_DETECTION> cat", "<REGION_TO_OCR><loc_1><loc_2><loc_3><loc_4>", "What is this?", ""]
    write("florence2_prompts", [{"text": task, "prompt": f"<image><s>{maker._construct_prompts(task)[0]}</s>"} for task in tasks])


def fastvlm():
    image = {"size": {"shortest_edge": 128}, "image_mean": [0.0] * 3, "image_std": [1.0] * 3}
    cases = []
    for size in SIZES[:3]:
        pixels, side = picture(*size), max(size)
        square = Image.new("RGB", (side, side))
        square.paste(pixels, ((side - size[0]) // 2, (side - size[1]) // 2))
        values = np.asarray(square.resize((128, 128), Image.BICUBIC)).astype(np.float32) / 255
        cases.append(case(settings({"model_type": "llava_qwen2"}, image), size, values[None], (), "<|endoftext|>" * 4))
    write("fastvlm", cases)


FAMILIES = {f.__name__: f for f in (
    resizes, idefics3, llava, pixtral, qwen_vl, gemma3, paligemma, gemma3n, gemma4, internvl, llava_next, idefics2, lfm2_vl, mllama,
    llama4, glm4v, minicpmv4_6, kimi_vl, phi3_v, molmo, deepseekocr, florence2, fastvlm)}

if __name__ == "__main__":
    for name in sys.argv[1:] or FAMILIES:
        FAMILIES[name]()
