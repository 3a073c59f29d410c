"""A headless Chromium, driven by Selenium, that keeps what its console says and takes small pictures.

Both are optional: `pip install -e ".[browser]"`, and Chromium with its driver from the system's packages.
"""

import io
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from patience import PATIENCE_S
from PIL import Image
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
LARGEST_PICTURE_BYTES = 150_000
WAIT_S = min(PATIENCE_S, 120.0)
Found = TypeVar("Found")


class Browser:
    """A browser window of `width` x `height` CSS pixels; a `phone` has a touch screen and obeys the viewport tag."""

    def __init__(self, *, width: int = 1280, height: int = 850, phone: bool = False) -> None:
        options = Options()
        options.binary_location = CHROMIUM or ""
        for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars"):
            options.add_argument(argument)
        for argument in ("--disable-background-networking", "--autoplay-policy=no-user-gesture-required"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        if phone:
            metrics = {"width": width, "height": height, "pixelRatio": 2.0, "mobile": True, "touch": True}
            options.add_experimental_option("mobileEmulation", {"deviceMetrics": metrics})
        self.driver: Any = webdriver.Chrome(options=options, service=Service(DRIVER))
        if not phone:
            metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
            self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def close(self) -> None:
        self.driver.quit()

    def open(self, url: str) -> None:
        """Open a page, also where only the part after `#` differs from the page that is open."""
        self.driver.get("about:blank")
        self.driver.get(url)

    def run(self, script: str, *arguments: object) -> Any:
        """The value of the body of a JavaScript function."""
        return self.driver.execute_script(script, *arguments)

    def errors(self) -> list[str]:
        """What the console has called an error since the last call."""
        return [line["message"] for line in self.driver.get_log("browser") if line["level"] == "SEVERE"]

    def text(self) -> str:
        """What the page shows, its words separated by one space each."""
        return " ".join(str(self.run("return document.body.innerText")).split())

    def wait(self, found: Callable[[], Found], what: str) -> Found:
        """Wait until a function returns something true, and return that."""
        deadline = time.monotonic() + WAIT_S
        while True:
            try:
                if value := found():
                    return value
            except StaleElementReferenceException:
                pass  # the page has drawn it anew
            assert time.monotonic() < deadline, f"{what} never came; the page shows: {self.text()[:2000]}"
            time.sleep(0.1)

    def wait_for_text(self, text: str) -> None:
        self.wait(lambda: text in self.text(), repr(text))

    def close_assistant(self) -> None:
        """Close the assistant that MLflow's page opens at the right when a browser first shows it."""
        if "Ask questions about" not in self.text():
            return  # its name stays in the text, as that of the button that opens it
        script = """
            const named = one => one.textContent.trim().startsWith('MLflow Assistant');
            let box = [...document.querySelectorAll('*')].filter(named).pop();
            while (box.querySelectorAll('button').length < 3) box = box.parentElement;
            const buttons = [...box.querySelectorAll('button')];
            const right = button => button.getBoundingClientRect().right - button.getBoundingClientRect().top;
            buttons.sort((a, b) => right(b) - right(a))[0].click();
        """
        self.run(script)
        self.wait(lambda: "Ask questions about" not in self.text(), "the end of the assistant")
        time.sleep(1)

    def show(self, selector: str) -> None:
        """Scroll to the first element of a CSS selector, once there is one."""
        script = "const found = document.querySelector(arguments[0]); found?.scrollIntoView(); return !!found"
        self.wait(lambda: self.run(script, selector), selector)

    def picture(self, file: Path, *, of: str | None = None, colours: int = 256) -> None:
        """Save what is shown, or one element, as a PNG with few colours."""
        whole = self.driver.get_screenshot_as_png
        png = whole() if of is None else self.driver.find_element("css selector", of).screenshot_as_png
        image = Image.open(io.BytesIO(png)).convert("RGB")
        while True:
            file.parent.mkdir(parents=True, exist_ok=True)
            image.quantize(colours, dither=Image.Dither.NONE).save(file, optimize=True)
            if file.stat().st_size < LARGEST_PICTURE_BYTES:
                return
            colours //= 2
            assert colours > 8, f"{file} stays larger than {LARGEST_PICTURE_BYTES} bytes"
