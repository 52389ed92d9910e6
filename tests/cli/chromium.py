"""Pages in a headless Chromium, where one is installed."""
import re
import shutil
import subprocess

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def page_after(path, script, profile, dark=False):
    """The DOM of the page at `path` once `script`, appended to it, has run; no network."""
    with open(path, encoding="utf-8") as file:
        page = file.read()
    path = path.replace(".html", "_test.html")
    with open(path, "w", encoding="utf-8") as file:
        file.write(page.replace("</body>", f"<script>{script}</script></body>"))
    done = subprocess.run([CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1200,900", f"--user-data-dir={profile}",
                           "--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=20000", "--dump-dom",
                           *(["--blink-settings=preferredColorScheme=0"] if dark else []), "file://" + path],
                          capture_output=True, timeout=300, check=True)
    return done.stdout.decode()


def report_of(dom):
    """What the script wrote to document.body.dataset.report."""
    return re.search(r'data-report="([^"]*)"', dom)[1].replace("&quot;", '"')
