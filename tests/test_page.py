"""The page that reads a drawn digit, in a real browser: it computes what PyTorch computes."""

import re
import shutil

import pytest
import torch
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By

from src.demo import page
from src.demo.picture import centred
from src.demo.reader import Reader, load
from src.evidence.storage import RESULTS
from src.learn.data import MNIST, load_dataset
from src.learn.images import normalise
from src.learn.training import new_model, preprocess, train
from src.model import Model_5, Model_7, Model_8, Model_9
from src.receptive_field import layers
from tests.helpers import EVERYTHING

DRIVER = shutil.which("chromedriver")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


@pytest.fixture(scope="module", params=[False, True], ids=["trained a little", "committed"])
def committed(request):
    return request.param


@pytest.fixture(scope="module")
def readers(committed, data):
    """Two networks whose BatchNorm has seen something."""
    if committed:
        return {name: load(name) for name in ("Model_8", "Model_9")}
    found = {}
    for model_class in (Model_8, Model_9):
        model = new_model(model_class, 0)
        train(model, data, EVERYTHING, seed=0)
        found[model_class.__name__] = Reader(model.eval(), EVERYTHING, data.statistics, 0.0)
    return found


@pytest.fixture(scope="module")
def browser(committed, readers, tmp_path_factory):
    if BROWSER is None or DRIVER is None:
        pytest.skip("no Chromium or Chrome with its driver here: apt install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1100,1400"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options, webdriver.ChromeService(DRIVER)) as opened:
        made = RESULTS / page.NAME if committed else page.save_page(readers, tmp_path_factory.mktemp("page"))
        opened.get(made.as_uri())
        yield opened
        assert opened.get_log("browser") == []


@pytest.mark.parametrize("name", ["Model_8", "Model_9"])
def test_its_logits_are_pytorchs(browser, readers, name, real_root):
    images = load_dataset(real_root).eval_images[:100]
    told = [
        browser.execute_script(
            "return run(NETWORKS[arguments[0]], arguments[1]).logits", name, image.flatten().tolist()
        )
        for image in images
    ]
    model, recipe, statistics = readers[name].model, readers[name].recipe, readers[name].statistics
    with torch.no_grad():
        expected = model(normalise(preprocess(images, recipe, statistics), statistics))
    found = torch.tensor(told)
    assert (found - expected).abs().max() < 1e-3
    assert torch.equal(found.argmax(1), expected.argmax(1))


def test_it_makes_an_image_of_a_drawing_as_the_reader_does(browser):
    drawing = torch.zeros(280, 280, dtype=torch.uint8)
    drawing[40:200, 60:80] = 255
    drawing[180:200, 60:170] = 255
    told = browser.execute_script(
        "return Array.from(asMnist(arguments[0], 280, 280, 20, 28))", drawing.flatten().tolist()
    )
    expected = centred(drawing / 255).flatten().float()
    assert (torch.tensor(told) - expected).abs().max() <= 2


def test_a_stroke_is_read_and_shown(browser):
    pad = browser.find_element(By.ID, "pad")
    browser.find_element(By.ID, "clear").click()
    assert browser.find_elements(By.CSS_SELECTOR, "#bars .best") == []
    strokes = ActionChains(browser).move_to_element_with_offset(pad, 0, -90).click_and_hold()
    for _ in range(6):
        strokes.move_by_offset(0, 30)
    strokes.release().perform()
    answer = browser.find_element(By.CSS_SELECTOR, "#bars .value.best").text
    assert 10 <= float(answer.split()[0]) <= 100
    maps = browser.find_elements(By.CSS_SELECTOR, ".layer")[1].find_elements(By.CLASS_NAME, "map")
    assert len(maps) == 8
    ActionChains(browser).move_to_element(maps[2]).perform()
    told = [line.text for line in browser.find_elements(By.CLASS_NAME, "told")]
    assert re.fullmatch(r"Map 3, row 1[23], column 1[23]: -?\d+\.\d\d", told[1])
    assert not any(told[:1] + told[2:])


def test_strokes_are_kept_and_undone(browser):
    pad, answer = browser.find_element(By.ID, "pad"), browser.find_element(By.ID, "answer")
    browser.find_element(By.ID, "clear").click()
    assert answer.text == "Draw one digit."
    ActionChains(browser).move_to_element(pad).click().perform()
    assert answer.text == "Too small: draw one large digit."
    thin = browser.execute_script("return pen.lineWidth")
    # A stroke that begins above the pad, and one that leaves it and comes back.
    ActionChains(browser).move_to_element_with_offset(pad, 0, -150).click_and_hold().move_by_offset(
        0, 60
    ).release().perform()
    drag = ActionChains(browser).move_to_element_with_offset(pad, -40, -80).click_and_hold()
    drag.move_by_offset(-150, 40).move_by_offset(150, 120).release().perform()
    assert browser.execute_script("return strokes.length") == 2
    assert browser.execute_script("return extent() > 100 && pen.lineWidth > arguments[0]", thin)
    assert answer.text
    for left in (1, 0, 0):
        browser.find_element(By.ID, "undo").click()
        assert browser.execute_script("return strokes.length") == left
    assert answer.text == "Draw one digit."


def test_what_a_unit_sees_is_where_the_page_draws_it():
    """Change the image inside and outside the box of one unit: only inside does it matter."""
    model = new_model(Model_8, 0).eval()
    described = page.described(Reader(model, EVERYTHING, MNIST.statistics, 0.0))["layers"]
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
        with pytest.raises(
            TypeError, match=rf"the page does not know {layer}\(.*\): teach src/demo/page.html and src/demo/page.py"
        ):
            page.described(Reader(model_class(), EVERYTHING, MNIST.statistics, 0.0))


def test_it_is_one_small_file_of_its_own(readers, tmp_path):
    path = page.save_page(readers, tmp_path)
    content = path.read_text()
    assert path.stat().st_size < 200_000
    assert "http" not in content.replace("http://www.w3.org", "")
    assert list(tmp_path.iterdir()) == [path]
