"""Photographs of MNIST's digits under the conditions in which people take them, drawn by a program."""

import numpy as np
from PIL import Image, ImageFilter
from scipy import ndimage

WIDTH, HEIGHT = 320, 240
CONDITIONS = (
    "plain", "ballpoint", "pencil", "red ink", "yellow marker", "chalk", "dark mode", "ruled paper", "grid paper",
    "frame", "gradient", "shadow", "noise", "blur", "small in a corner", "at the border",
    "tilted",
)  # fmt: skip


def photograph(condition, digit, random):
    """Draw a digit, uint8 (28, 28) as MNIST has it, on a sheet: a PIL image of 320 x 240."""
    height, pen, ink = random.uniform(90, 140), random.uniform(4, 7), (40, 40, 50)
    paper = np.ones((HEIGHT, WIDTH, 3)) * (np.array([235, 232, 224]) + random.uniform(-10, 8))
    place, grain = np.array([HEIGHT / 2, WIDTH / 2]) + random.uniform(-20, 20, 2), 3.0
    if condition == "ballpoint":
        pen, ink = random.uniform(1.5, 2.5), (90, 90, 100)
    elif condition == "pencil":
        pen, ink = random.uniform(2, 4), np.full(3, random.uniform(160, 185))
    elif condition == "red ink":
        ink = (200, 35, 45)
    elif condition == "yellow marker":
        pen, ink = random.uniform(6, 10), (240, 220, 60)
    elif condition == "chalk":
        paper[:], ink, grain = (45, 75, 60), (215, 220, 210), 6.0
    elif condition == "dark mode":
        paper[:], ink, grain = (22, 22, 27), (235, 235, 235), 0.0
    elif condition in ("ruled paper", "grid paper"):
        gap, colour = random.uniform(12, 28), np.array([170, 185, 210]) - random.uniform(0, 50)
        paper[np.arange(random.uniform(0, gap), HEIGHT, gap).astype(int)] = colour
        if condition == "grid paper":
            paper[:, np.arange(random.uniform(0, gap), WIDTH, gap).astype(int)] = colour
    elif condition == "frame":
        width = random.integers(4, 9)
        paper[:width] = 30
        paper[:, -width:] = 30
    elif condition == "small in a corner":
        height, pen = random.uniform(22, 34), random.uniform(2, 3.5)
        place = np.array([HEIGHT - 30, 30]) + random.uniform(-5, 5, 2)
    elif condition == "at the border":
        height, pen, place = HEIGHT, random.uniform(8, 13), np.array([HEIGHT / 2, WIDTH / 2])
    sheet = paper + strokes(digit, height, pen, place)[..., None] * (np.array(ink) - paper)
    if condition in ("gradient", "shadow"):
        down, across = np.mgrid[:HEIGHT, :WIDTH]
        angle = random.uniform(-0.8, 0.8)
        along = (across - WIDTH / 2) * np.cos(angle) + (down - HEIGHT / 2) * np.sin(angle)
        if condition == "gradient":
            light = np.interp(along, (-150, 150), (1, random.uniform(0.4, 0.6)))
        else:
            edge, soft = random.uniform(-40, 60), random.uniform(2, 7)
            light = 1 - random.uniform(0.4, 0.6) / (1 + np.exp((edge - along) / soft))
        sheet *= light[..., None]
    if condition == "tilted":
        sheet = ndimage.rotate(sheet, random.uniform(-20, 20), reshape=False, order=1, mode="nearest")
    sheet = sheet + random.normal(0, 30 if condition == "noise" else grain, (HEIGHT, WIDTH, 1))
    picture = Image.fromarray(sheet.clip(0, 255).astype(np.uint8))
    return picture.filter(ImageFilter.GaussianBlur(random.uniform(4, 7))) if condition == "blur" else picture


def strokes(digit, height, pen, place):
    """Return how much ink a pen of this width leaves, (240, 320), where it draws a digit of this height."""
    rows, columns = (np.nonzero(digit.max(axis) > 64)[0] for axis in (1, 0))
    digit = digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    factor = (height - pen) / max(digit.shape)
    large = ndimage.zoom(np.pad(digit, 2).astype(float), factor, order=3) > 110
    inside = ndimage.distance_transform_edt(large)
    ridge = (inside == ndimage.maximum_filter(inside, 3)) & (inside > 1)
    own = 2 * np.median(inside[ridge])
    signed = inside - ndimage.distance_transform_edt(~large)
    drawn = np.maximum(signed + (pen - own) / 2, pen / 2 - ndimage.distance_transform_edt(~ridge))  # never torn
    drawn = (drawn + 0.5).clip(0, 1)
    sheet = np.zeros((3 * HEIGHT, 3 * WIDTH))
    top, left = (int(at + size - side / 2) for at, size, side in zip(place, (HEIGHT, WIDTH), drawn.shape, strict=True))
    sheet[top : top + drawn.shape[0], left : left + drawn.shape[1]] = drawn
    return sheet[HEIGHT : 2 * HEIGHT, WIDTH : 2 * WIDTH]
