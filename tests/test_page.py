"""The page that reads a drawn digit, in a real browser: it computes what PyTorch computes, and explains it truly."""

import base64
import io
import json
import math
import random
import re
import shutil

import pytest
import torch
from PIL import Image, ImageDraw
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.actions.action_builder import ActionBuilder
from selenium.webdriver.common.actions.interaction import POINTER_PEN, POINTER_TOUCH
from selenium.webdriver.common.actions.pointer_input import PointerInput
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from src.demo import page
from src.demo.mahalanobis import MahalanobisDetector
from src.demo.picture import centred
from src.demo.reader import Reader, load
from src.evidence.storage import RESULTS
from src.learn.data import MNIST, load_dataset
from src.learn.images import Preprocess
from src.learn.training import Job
from src.model import Model_5, Model_7, Model_8
from src.receptive_field import layers
from tests.helpers import EVERYTHING

DRIVER = shutil.which("chromedriver")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
KNOWN = MahalanobisDetector(torch.zeros(10, 64), torch.eye(64), 1.0)


def inputs_of(reader, images):
    """What a network gets of images as the files have them."""
    return reader.preprocess.normalise(reader.preprocess(images))


SCHEMES = pytest.mark.parametrize("scheme", ["light", "dark"])
WIDTHS = pytest.mark.parametrize("width", [390, 1280])


@pytest.fixture(scope="module")
def readers():
    return {name: load(name) for name in ("Model_8", "Model_9")}


@pytest.fixture(scope="module")
def browser():
    if BROWSER is None or DRIVER is None:
        pytest.skip("no Chromium or Chrome with its driver here: apt install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1100,1400"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with webdriver.Chrome(options, webdriver.ChromeService(DRIVER)) as opened:
        made = RESULTS / page.NAME
        emulate(opened)
        opened.get(made.as_uri())
        yield opened
        assert opened.get_log("browser") == []
        told = (json.loads(entry["message"])["message"] for entry in opened.get_log("performance"))
        asked = {event["params"]["request"]["url"] for event in told if event["method"] == "Network.requestWillBeSent"}
        assert asked == {made.as_uri(), "data:,"} or asked == {made.as_uri()}  # and the empty icon


def emulate(browser, width=1280, scheme="light", motion="reduce"):
    """Give the page's window a width, and its reader's wishes."""
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    wishes = [{"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": motion}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": wishes})


@pytest.fixture
def drawn(browser):
    """The page as it opens, at its top, with its first digit."""
    emulate(browser)
    browser.execute_script(
        "bring(false); choose(Object.keys(NETWORKS)[0]); showExample(0); showAll(true); scrollTo(0, 0); announce()"
    )
    return browser


def text(browser, name):
    return browser.execute_script("return document.getElementById(arguments[0]).innerText.trim()", name)


def modules_of(model):
    return [module for module in model.modules() if not list(module.children())]


@pytest.mark.parametrize("name", ["Model_8", "Model_9"])
def test_its_logits_are_pytorchs(browser, readers, name, real_root):
    images = load_dataset(real_root).eval_images[:100]
    told = [
        browser.execute_script(
            "return run(NETWORKS[arguments[0]], arguments[1]).logits", name, image.flatten().tolist()
        )
        for image in images
    ]
    reader = readers[name]
    with torch.no_grad():
        expected = reader.model(inputs_of(reader, images))
    found = torch.tensor(told)
    assert (found - expected).abs().max() < 1e-3
    assert torch.equal(found.argmax(1), expected.argmax(1))


def test_the_engine_needs_no_page(browser, readers, real_root):
    """In an empty tab, where there is nothing else, engine.js reads as PyTorch does and tells how."""
    reader, images = readers["Model_8"], load_dataset(real_root).eval_images[:3]
    ours = browser.current_window_handle
    browser.switch_to.new_window("tab")
    try:
        told = browser.execute_script(
            f"""const document = null, window = null; {(page.SOURCES / "engine.js").read_text(encoding="utf-8")}
            const [network, images] = arguments, first = network.layers[0], last = network.layers.length - 1;
            unpack(network);
            const found = images.map(image => run(network, image));
            const told = found.map(seen => [seen.logits, chancesOf(seen), seen.distance,
              explain(network.layers[last], seen.maps[last - 1], 3, 0, 0).at(-1).value]);
            const way = wayTo(network, last - 1, 2, 2);
            first.operations[0].weights.fill(0);
            return [told, deadness(first, run(network, images[0]).maps[0], 0), way.length]""",
            page.described(reader),
            images.flatten(1).tolist(),
        )
    finally:
        browser.close()
        browser.switch_to.window(ours)
    with torch.no_grad():
        given = inputs_of(reader, images)
        expected = reader.model(given)
    _, distances = reader.logits_and_distance(images)
    logits, chances, distance, explained = zip(*told[0], strict=True)
    assert torch.tensor(logits) == pytest.approx(expected, abs=1e-3)
    assert torch.tensor(chances) == pytest.approx(expected.softmax(1), abs=1e-3)
    assert distance == pytest.approx(distances.tolist(), rel=0.05)  # Python may compute in bfloat16
    assert explained == pytest.approx(expected[:, 3].tolist(), abs=1e-3)
    assert told[1:] == [{"cause": "kernel"}, len(layers(reader.model)) - 1]


def scribbles(count, seed):
    """Draw at random: each drawing is one to three strokes, and each a few points that wander."""
    generator = random.Random(seed)
    for _ in range(count):
        strokes = []
        for _ in range(generator.randint(1, 3)):
            x, y, heading = generator.uniform(50, 230), generator.uniform(50, 230), generator.uniform(0, 2 * math.pi)
            stroke = [[x, y]]
            for _ in range(generator.randint(4, 12)):
                heading += generator.uniform(-0.8, 0.8)
                x = min(max(x + 22 * math.cos(heading), 12), 268)
                y = min(max(y + 22 * math.sin(heading), 12), 268)
                stroke.append([x, y])
            strokes.append(stroke)
        yield strokes


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Model_8", "Model_9"])
def test_it_reads_drawings_as_python_does(drawn, readers, name):
    """100 drawings: from the pad's ink both make the same image, and of that the same logits."""
    drawn.execute_script("choose(arguments[0])", name)
    told, images = [], []
    for strokes in scribbles(100, seed=1):
        ink, image, logits = drawn.execute_script(
            """strokes = arguments[0]; draw();
            const { data } = pen.getImageData(0, 0, 280, 280);
            const ink = new Uint8Array(280 * 280).map((_, at) => data[4 * at]);
            let letters = ""; for (const value of ink) letters += String.fromCharCode(value);
            return [btoa(letters), Array.from(seen.image), seen.logits]""",
            strokes,
        )
        ink = torch.frombuffer(bytearray(base64.b64decode(ink)), dtype=torch.uint8).view(280, 280)
        images.append(centred(ink / 255))
        assert torch.equal(torch.tensor(image), images[-1].flatten().float())
        told.append(logits)
    reader = readers[name]
    with torch.no_grad():
        expected = reader.model(inputs_of(reader, torch.cat(images)))
    assert (torch.tensor(told) - expected).abs().max() < 1e-3


def test_it_is_not_sure_of_a_cross(drawn, readers):
    """Its largest logit is high, but the maps respond as to no digit: so far from them as Python says."""
    image, distance, answer = drawn.execute_script(
        """strokes = [[[60, 60], [220, 220]], [[220, 60], [60, 220]]]; draw();
        return [Array.from(seen.image), seen.distance, verdict().answer]"""
    )
    _, expected = readers["Model_8"].logits_and_distance(torch.tensor(image, dtype=torch.uint8).view(1, 1, 28, 28))
    assert answer == "Not sure"
    assert distance == pytest.approx(expected.item(), rel=0.05)  # Python may compute in bfloat16


@pytest.mark.parametrize("name", ["Model_8", "Model_9"])
def test_its_arithmetic_of_a_pixel_is_the_networks(drawn, readers, name):
    """What each step of each layer is said to make of a pixel, PyTorch's modules make of it."""
    drawn.execute_script("choose(arguments[0])", name)
    image = torch.tensor(drawn.execute_script("return Array.from(seen.image)")).view(1, 1, 28, 28)
    reader, random_places = readers[name], random.Random(0)
    x = inputs_of(reader, image)
    outputs = []
    with torch.no_grad():
        for module in modules_of(reader.model):
            x = module(x)
            outputs.append(x)
    shapes = [layer["shape"] for layer in page.described(reader)["layers"]]
    after = 0
    for number, (channels, size, _) in enumerate(shapes):
        corner = (channels - 1, size - 1, 0)  # where there is padding, if there is any
        for channel, row, column in [corner] + [
            (random_places.randrange(channels), random_places.randrange(size), random_places.randrange(size))
            for _ in range(5)
        ]:
            steps = drawn.execute_script(
                "const [n, ...at] = arguments; return explain(network.layers[n], inputOf(n), ...at)",
                number, channel, row, column,
            )  # fmt: skip
            for step, output in zip(steps, outputs[after:], strict=False):
                assert step["value"] == pytest.approx(output[0, channel, row, column].item(), abs=2e-3, rel=1e-4)
            if "parts" in steps[0]:
                assert steps[0]["value"] == pytest.approx(
                    sum(
                        (pixel or 0) * weight
                        for part in steps[0]["parts"]
                        for pixel, weight in zip(part["pixels"], part["weights"], strict=True)
                    )
                )
        after += len(steps)
    assert after == len(outputs) - 1  # all but Flatten


def test_it_opens_with_a_digit_and_tells_of_it(drawn):
    assert len(drawn.find_elements(By.CSS_SELECTOR, ".tell p")) == 8
    told = [paragraph.text for paragraph in drawn.find_elements(By.CSS_SELECTOR, ".tell p")]
    assert all(40 < len(paragraph) < 700 for paragraph in told)
    leaning, spread, highest = drawn.execute_script(
        "const s = shape(seen.image, 28, network.preprocess);"
        "return [Math.atan(-s.shear) * 180 / Math.PI, s.deviations, figure(Math.max(...seen.logits))]"
    )
    assert leaning > 10  # to the right: there is something to be deslanted
    assert f"{leaning:.0f}° to the right" in told[2]
    assert all(f"{deviation:.2f}" in told[3] for deviation in spread)
    assert f"The highest logit is {highest}," in told[7]
    assert text(drawn, "answer").startswith("4")
    assert re.fullmatch(r"The network reads 4, .*%.* sure\.", drawn.execute_script("return said.textContent"))


def test_a_stroke_is_read_and_shown(drawn):
    pad = drawn.find_element(By.ID, "pad")
    strokes = ActionChains(drawn).move_to_element_with_offset(pad, 0, -90).click_and_hold()
    for _ in range(6):
        strokes.move_by_offset(0, 30)
    strokes.release().perform()
    assert drawn.execute_script("return strokes.length") == 1  # the example is gone
    assert drawn.find_elements(By.CSS_SELECTOR, "#bars .best")
    assert drawn.execute_script("return document.body.className") == ""
    drawn.find_element(By.ID, "clear").click()
    assert drawn.find_elements(By.CSS_SELECTOR, "#bars .best") == []


def test_a_finger_draws_and_taps(drawn):
    emulate(drawn, width=390)
    pad = drawn.find_element(By.ID, "pad").rect
    finger = ActionBuilder(drawn, mouse=PointerInput(POINTER_TOUCH, "finger"))
    finger.pointer_action.move_to_location(int(pad["x"] + 150), int(pad["y"] + 60)).pointer_down()
    for down in range(90, 270, 30):
        finger.pointer_action.move_to_location(int(pad["x"] + 150), int(pad["y"] + down))
    finger.pointer_action.pointer_up()
    finger.perform()
    assert drawn.execute_script("return [strokes.length, extent() > 100, seen !== null, scrollY]") == [1, True, True, 0]
    box = drawn.find_elements(By.CSS_SELECTOR, ".layer")[2]
    tapped = box.find_elements(By.CLASS_NAME, "map")[4]
    drawn.execute_script("showAll(true); arguments[0].scrollIntoView({ block: 'center' })", tapped)
    place = drawn.execute_script(
        "const { left, top, width } = arguments[0].getBoundingClientRect();"
        "return [Math.round(left + 3.5 / 12 * width), Math.round(top + 8.5 / 12 * width)]",
        tapped,
    )
    finger = ActionBuilder(drawn, mouse=PointerInput(POINTER_TOUCH, "finger"))
    finger.pointer_action.move_to_location(*place).pointer_down().pointer_up()
    finger.perform()
    value = drawn.execute_script("return figure(seen.maps[2].values[(4 * 12 + 8) * 12 + 3])")
    assert box.find_element(By.CLASS_NAME, "sentence").text == f"Map 5, row 9, column 4: {value}"
    assert box.find_element(By.CSS_SELECTOR, ".flow > :last-child b").text == value


def test_a_pen_draws_on_a_zoomed_page_and_a_finger_beside_it_does_not(drawn):
    emulate(drawn, width=390)
    drawn.execute_cdp_cmd("Emulation.setPageScaleFactor", {"pageScaleFactor": 2})
    drawn.find_element(By.ID, "clear").click()
    left, top, width = drawn.execute_script(
        "const { left, top, width } = pad.getBoundingClientRect(), view = visualViewport;"
        "return [left - view.offsetLeft, top - view.offsetTop, width]"
    )
    place = [[round(left + width * x), round(top + width * y)] for x, y in ((0.25, 0.25), (0.25, 0.4), (0.25, 0.55))]
    pen, finger = PointerInput(POINTER_PEN, "pen"), PointerInput(POINTER_TOUCH, "finger")
    drawing = ActionBuilder(drawn, mouse=pen)
    drawing.pointer_action.move_to_location(*place[0]).pointer_down().move_to_location(*place[1])
    drawing.perform()
    beside = ActionBuilder(drawn, mouse=finger)
    beside.pointer_action.move_to_location(place[1][0] + 40, place[1][1]).pointer_down().pointer_up()
    beside.perform()
    drawing = ActionBuilder(drawn, mouse=pen)
    drawing.pointer_action.move_to_location(*place[2]).pointer_up()
    drawing.perform()
    ((*_, (x, y)),) = drawn.execute_script("return strokes")
    drawn.execute_cdp_cmd("Emulation.setPageScaleFactor", {"pageScaleFactor": 1})
    assert (x / 280, y / 280) == pytest.approx((0.25, 0.55), abs=0.02)


def test_a_pixel_is_chosen_with_buttons_and_its_field_shown(drawn):
    box = drawn.find_elements(By.CSS_SELECTOR, ".layer")[3]
    digit = box.find_element(By.CLASS_NAME, "digit")

    def pixels():
        return drawn.execute_script("return arguments[0].toDataURL()", digit)

    drawn.execute_script("views[3].own = { channel: 1, row: 5, column: 5 }; views[3].update()")
    before = pixels()
    for label, at in (("Pixel to the right", (1, 5, 6)), ("Pixel below", (1, 6, 6)), ("Next map", (2, 6, 6))):
        box.find_element(By.CSS_SELECTOR, f"[aria-label^='{label}']").send_keys(Keys.ENTER)
        assert drawn.execute_script("return Object.values(views[3].own)") == list(at)
    assert pixels() != before
    assert drawn.execute_script("return said.textContent") == box.find_element(By.CLASS_NAME, "sentence").text
    chips = box.find_elements(By.CLASS_NAME, "part")
    assert len(chips) == 8
    chips[6].click()
    assert [chip.get_attribute("aria-pressed") for chip in chips].index("true") == 6


def test_the_kernel_slides_and_stops(drawn):
    places = "views[0].own = { channel: 0, row: 3, column: 25 }; views[0].update();"
    slide = drawn.find_element(By.CLASS_NAME, "slide")
    drawn.execute_script(places)
    slide.click()  # motion is unwelcome: one pixel on a press
    assert drawn.execute_script("return [views[0].timer, views[0].at.row, views[0].at.column]") == [None, 4, 0]
    emulate(drawn, motion="no-preference")
    slide.click()
    assert drawn.execute_script("return views[0].timer !== null")
    slide.click()
    assert drawn.execute_script("return views[0].timer") is None


def test_strokes_are_kept_and_undone(drawn):
    pad = drawn.find_element(By.ID, "pad")
    drawn.find_element(By.ID, "clear").click()
    assert text(drawn, "answer") == "Draw one digit."
    ActionChains(drawn).move_to_element(pad).click().perform()
    assert text(drawn, "answer") == "Too small: draw one large digit."
    thin = drawn.execute_script("return pen.lineWidth")
    # A stroke that begins above the pad, and one that leaves it and comes back.
    ActionChains(drawn).move_to_element_with_offset(pad, 0, -175).click_and_hold().move_by_offset(
        0, 60
    ).release().perform()
    drag = ActionChains(drawn).move_to_element_with_offset(pad, -40, -80).click_and_hold()
    drag.move_by_offset(-170, 40).move_by_offset(170, 120).release().perform()
    assert drawn.execute_script("return strokes.length") == 2
    assert drawn.execute_script("return extent() > 100 && pen.lineWidth > arguments[0]", thin)
    for left in (1, 0, 0):
        drawn.find_element(By.ID, "undo").click()
        assert drawn.execute_script("return strokes.length") == left
    assert text(drawn, "answer") == "Draw one digit."


def test_escape_in_the_middle_of_a_stroke_ends_it(drawn):
    pad = drawn.find_element(By.ID, "pad")
    ActionChains(drawn).move_to_element(pad).click_and_hold().move_by_offset(0, 60).perform()
    assert drawn.execute_script("return document.body.className") == "drawing"
    ActionChains(drawn).send_keys(Keys.ESCAPE).perform()
    assert drawn.execute_script("return document.body.className") == ""
    ActionChains(drawn).move_by_offset(20, 20).release().perform()
    assert drawn.execute_script("return [strokes.length, active]") == [0, None]


def test_the_keyboard_draws_undoes_and_steps(drawn):
    pad = drawn.find_element(By.ID, "pad")
    drawn.execute_script("arguments[0].focus(); nib = [140, 60]", pad)
    ActionChains(drawn).send_keys(" ", *[Keys.ARROW_DOWN] * 12, " ", Keys.ARROW_LEFT, " ", Keys.ARROW_RIGHT).perform()
    assert drawn.execute_script("return strokes.map(stroke => stroke.length)") == [13, 2]
    assert drawn.execute_script("return strokes[0][0][0] === strokes[0][12][0] && extent() === 144")
    ActionChains(drawn).send_keys(Keys.BACKSPACE, Keys.ARROW_UP).perform()
    assert drawn.execute_script("return strokes.map(stroke => stroke.length)") == [13]
    ActionChains(drawn).send_keys(Keys.ESCAPE).perform()
    assert drawn.execute_script("return strokes.length") == 0
    drawn.execute_script("document.activeElement.blur()")
    for step in (2, 3):
        ActionChains(drawn).send_keys(Keys.ARROW_RIGHT).perform()
        drawn.execute_script("stand()")
        assert text(drawn, "step").startswith(f"{step} / 8")
    drawn.find_element(By.ID, "back").click()
    drawn.execute_script("stand()")
    assert text(drawn, "step").startswith("2 / 8")


def test_the_pad_comes_along(drawn):
    drawn.execute_script("document.getElementById('pooled').scrollIntoView(); stand()")
    drawn.find_element(By.ID, "bring").click()
    seen = "const { top, bottom } = pad.getBoundingClientRect(); return top > 0 && bottom < innerHeight"
    assert drawn.execute_script(seen)
    ActionChains(drawn).move_to_element(drawn.find_element(By.ID, "pad")).click_and_hold().move_by_offset(
        0, 80
    ).release().perform()
    assert drawn.execute_script("return strokes.length === 1 && seen !== null")
    drawn.find_element(By.ID, "close").click()
    assert not drawn.execute_script(seen)


def test_a_dead_map_is_named_with_its_reason(drawn):
    told = drawn.execute_script(
        """const { operations } = network.layers[0], { factor, summand } = operations[1], { weights } = operations[0];
        const kept = [factor.slice(), summand.slice(), weights.slice()];
        summand[1] = -500; factor[4] = 0; weights.fill(0, 18, 27);
        read(); showAll(true);
        const maps = [...document.querySelector(".layer").querySelectorAll(".map")];
        const told = [document.querySelector(".deadly").innerText,
          maps.map((map, at) => map.classList.contains("dead") ? at + 1 : 0).filter(Boolean)];
        factor.set(kept[0]); summand.set(kept[1]); weights.set(kept[2]);
        read(); showAll(true);
        return told"""
    )
    sentences = dict(re.findall(r"Map (\d) is dead (.*?)\.(?= Map|$)", told[0]))
    assert {"2", "3", "5"} <= set(sentences) == {str(at) for at in told[1]}
    assert sentences["2"].startswith("on this digit: BatchNorm")
    assert sentences["3"].startswith("on every digit: its kernel")
    assert sentences["5"].startswith("on every digit: BatchNorm")


# ---------------------------------------------------------------- a picture


def seven(paper=225, ink=45, fall=60):
    """Draw a 7 on a sheet whose light falls off to the right: a PIL image."""
    sheet = Image.new("L", (480, 360), 0)
    ImageDraw.Draw(sheet).line(
        [(170, 90), (290, 84), (262, 150), (232, 210), (214, 270)], fill=255, width=13, joint="curve"
    )
    light = Image.linear_gradient("L").rotate(90).resize(sheet.size).point(lambda value: paper - fall * value // 255)
    return Image.composite(Image.new("L", sheet.size, ink), light, sheet)


def file_of(picture):
    found = io.BytesIO()
    picture.save(found, "PNG")
    return found.getvalue()


GIVE = """
    const [way, name, content, done] = arguments, given = new DataTransfer(), before = turn;
    const bytes = Uint8Array.from(atob(content), letter => letter.charCodeAt(0));
    if (name) given.items.add(new File([bytes], name, { type: name.endsWith("png") ? "image/png" : "text/plain" }));
    if (way === "drop") dispatchEvent(new DragEvent("drop", { dataTransfer: given, cancelable: true }));
    else if (way === "paste") dispatchEvent(new ClipboardEvent("paste", { clipboardData: given, cancelable: true }));
    else { find("file").files = given.files; find("file").dispatchEvent(new Event("change")); }
    const started = performance.now(), look = () => {
      if (find("note").textContent === INVITATION && performance.now() - started < 20000) return setTimeout(look, 20);
      done([find("note").textContent, find("note").className, turn - before]);
    };
    look();
"""


def give(browser, way, name, content):
    browser.execute_script("clear()")
    return browser.execute_async_script(GIVE, way, name, base64.b64encode(content).decode())


@pytest.mark.parametrize(
    ("way", "colours"),
    [("drop", {}), ("paste", {"paper": 30, "ink": 230, "fall": 15}), ("choose", {"paper": 225, "ink": 150})],
    ids=["dark ink, dropped", "light ink, pasted", "pale ink, chosen"],
)
def test_a_picture_is_read(drawn, way, colours):
    told, wrong, turns = give(drawn, way, "seven.png", file_of(seven(**colours)))
    assert (wrong, turns) == ("", 1), told
    assert drawn.execute_script("return picture !== null && strokes.length === 0 && seen !== null")
    wide, tall = drawn.execute_script("return [seen.drawn.width, seen.drawn.height]")
    assert wide / tall == pytest.approx(133 / 199, abs=0.1)  # the stroke's own box, and nothing of the shade
    assert text(drawn, "answer").startswith("7")
    drawn.find_element(By.ID, "undo").click()
    assert text(drawn, "answer") == "Draw one digit."


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("letter.txt", b"no picture"),
        ("broken.png", b"\x89PNG, not really"),
        ("", b""),
        ("empty.png", file_of(Image.new("L", (200, 150), 230))),
        ("two.png", file_of(Image.new("L", (480, 180), 225))),
    ],
    ids=["a text", "a broken file", "nothing", "empty paper", "two digits"],
)
def test_what_is_no_picture_of_a_digit_is_refused_in_one_sentence(drawn, name, content):
    if name == "two.png":
        sheet = Image.new("L", (960, 360), 225)
        for left in (0, 420):
            sheet.paste(seven(fall=0), (left, 0))
        content = file_of(sheet)
    told, wrong, _ = give(drawn, "drop", name, content)
    assert wrong == "wrong"
    assert re.fullmatch(r"[^.]+(\.(txt|png)[^.]+)?\.", told)
    assert drawn.execute_script("return picture === null && seen === null")


# ---------------------------------------------------------------- every screen


@SCHEMES
@WIDTHS
def test_it_fits_every_screen_in_both_schemes(drawn, width, scheme):
    emulate(drawn, width=width, scheme=scheme)
    drawn.execute_script("showAll(true)")
    assert drawn.execute_script("return document.documentElement.scrollWidth") <= width
    small = drawn.execute_script(
        """return [...document.querySelectorAll("button, select, .file, .map")].filter(element => element.offsetParent)
        .map(element => [element.outerHTML.slice(0, 60), element.offsetWidth, element.offsetHeight])
        .filter(([text, wide, tall]) => tall < 44 || wide < (text.includes('class="part"') ? 36 : 44))"""
    )
    assert small == []
    outer, inner = drawn.execute_script(
        """const line = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
        const light = colour => {
          line.fillStyle = colour; line.fillRect(0, 0, 1, 1);
          return [...line.getImageData(0, 0, 1, 1).data].slice(0, 3).map(part => part / 255)
            .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
            .reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
        };
        const behind = element => { for (let at = element; at; at = at.parentElement) {
          const colour = getComputedStyle(at).backgroundColor; if (colour !== "rgba(0, 0, 0, 0)") return colour; } };
        const contrasts = [...document.querySelectorAll("p, small, span, b, h1, h2, h3, i, figcaption, button, .value")]
          .filter(element => element.offsetParent && !element.disabled && element.innerText?.trim())
          .map(element => [light(getComputedStyle(element).color), light(behind(element))].sort().reverse())
          .map(([bright, dim]) => (bright + 0.05) / (dim + 0.05));
        return [light(getComputedStyle(document.body).backgroundColor), Math.min(...contrasts)]"""
    )
    assert (outer > 0.5) == (scheme == "light")
    assert inner >= 4.5
    if width == 390:  # the whole width is used
        pad = drawn.find_element(By.ID, "pad").rect
        assert pad["width"] >= 350
    else:
        lefts = drawn.execute_script(
            """return [...document.querySelectorAll(".maps:not(.growth)")].map(maps =>
            [...maps.children].slice(0, 5).map(map => Math.round(map.getBoundingClientRect().left)).join())"""
        )
        assert len(lefts) == 8
        assert len(set(lefts)) == 1  # layers are aligned


@SCHEMES
def test_signs_have_colours_of_their_own_and_zero_is_neutral(drawn, scheme):
    emulate(drawn, scheme=scheme)
    below, zero, above = drawn.execute_script("return [-1, 0, 1].map(signed(1))")
    assert max(zero) - min(zero) < 10
    assert below[2] - below[0] > 60  # blue
    assert above[0] - above[2] > 60  # orange
    for colour in (below, above):
        assert abs(sum(colour) - sum(zero)) > 60  # seen without colours, too


def test_the_networks_can_be_changed(drawn):
    for name in ("Model_9", "Model_8"):
        drawn.find_element(By.CSS_SELECTOR, f"#network option[value={name}]").click()
        told = drawn.find_element(By.CSS_SELECTOR, "#drawn .tell p").text
        assert name in told
        assert f"{drawn.execute_script('return network.parameters'):,}" in told
        assert len(drawn.find_elements(By.CSS_SELECTOR, "#averaged .vote")) == 10


def test_what_a_unit_sees_is_where_the_page_draws_it():
    """Change the image inside and outside the box of one unit: only inside does it matter."""
    model = Job(Model_8, None, EVERYTHING, 0).new_model().eval()
    described = page.described(Reader(model, Preprocess(EVERYTHING, MNIST.statistics), KNOWN))["layers"]
    spatial = [layer.name for layer in layers(model)]
    assert len(described) == len(spatial)
    for number, layer in enumerate(described[:-1]):
        row = layer["shape"][1] // 2
        middle = layer["start"] + row * layer["jump"]
        edges = [middle - (layer["field"] - 1) / 2, middle + (layer["field"] - 1) / 2]
        assert all(edge == int(edge) for edge in edges)
        first, last = int(edges[0]), int(edges[1])
        image = torch.zeros(1, 1, 28, 28, requires_grad=True)
        output, passed = image, 0
        for module in (m for m in model.modules() if not list(m.children())):
            output = module(output)
            if isinstance(module, (torch.nn.Conv2d, torch.nn.MaxPool2d)):
                passed += 1
                if passed == number + 1:
                    break
        (reached,) = torch.autograd.grad(output[0, :, row, row].sum(), image)
        rows = torch.nonzero(reached[0, 0].abs().sum(1)).flatten()
        assert max(0, first) <= rows[0]
        assert rows[-1] <= min(27, last)
        if isinstance(module, torch.nn.Conv2d):  # a pooling passes on one of its four
            assert len(rows) >= min(27, last) - max(0, first) - 2


def test_a_layer_that_it_does_not_know_is_refused():
    for model_class, layer in ((Model_7, "ReLU"), (Model_5, "Conv2d")):  # its convolutions have a bias
        teach = "teach src/demo/page/engine.js and src/demo/page.py"
        with pytest.raises(TypeError, match=rf"the page does not know {layer}\(.*\): {teach}"):
            page.described(Reader(model_class(), Preprocess(EVERYTHING, MNIST.statistics), KNOWN))


def test_it_is_one_small_file_of_its_own(readers):
    content = (RESULTS / page.NAME).read_text(encoding="utf-8")
    assert content == page.page_html(readers), "results/try.html is out of date: run notebooks/Step3.ipynb"
    assert len(content) < 250_000


def test_it_holds_no_placeholder_and_asks_nothing_of_the_network(readers):
    content = page.page_html(readers)
    assert not re.search(r"\{\{ |page/|src=|@import|url\(", content)
    assert re.findall(r"href=\S+", content) == ['href="data:,">']  # the icon, or the browser would ask for one
    assert not re.search(r"https?:|//[a-z]+\.|\bfetch\(|XMLHttpRequest|WebSocket|sendBeacon|import\(", content)
    assert "default-src 'none'" in content  # the browser, too, lets no request out


@pytest.mark.parametrize(("place", "instead"), [("{{ ink.js }}", ""), ("<main>", "<main>{{ map }}")])
def test_markup_that_does_not_fit_its_parts_is_refused(readers, tmp_path, monkeypatch, place, instead):
    sources = shutil.copytree(page.SOURCES, tmp_path / "page")
    markup = (sources / "page.html").read_text(encoding="utf-8")
    (sources / "page.html").write_text(markup.replace(place, instead), encoding="utf-8")
    monkeypatch.setattr(page, "SOURCES", sources)
    with pytest.raises(ValueError, match=r"page.html must hold each of these once.*\{\{ ink.js \}\}"):
        page.page_html(readers)
