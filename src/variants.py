"""Networks of the studies only: Model_7 relieved, Model_8 with one thing changed, and Model_8 in other sizes.

Each is named for the model that it varies. All take images (N, 1, 28, 28). Model_8's return logits (N, 10), Model_7's
(N, 20) as it does.
"""

from torch import nn

from src.model import conv_bn_hardswish, conv_bn_relu, conv_pool_bn_hardswish, conv_relu, conv_relu_bn

# ---------------------------------------------------------------- Model_7 relieved


class Model_7_NoDropout(nn.Sequential):
    """Model_7 without its seven dropouts: 7,974 parameters, receptive field 22 before the average."""

    def __init__(self):
        super().__init__(
            conv_relu_bn(1, 6, bias=False), conv_relu_bn(6, 8, bias=False), conv_relu(8, 8, kernel=1, bias=False),
            nn.MaxPool2d(2),
            conv_relu_bn(8, 10, bias=False), conv_relu_bn(10, 14, bias=False),
            conv_relu_bn(14, 16, bias=False), conv_relu_bn(16, 20, padding=1, bias=False),
            nn.AvgPool2d(6), nn.Conv2d(20, 20, 1, bias=False), nn.Flatten(),
        )  # fmt: skip


class Model_7_NoDropoutTwoPoolings(nn.Sequential):
    """The same, a second pooling in place of three unpadded convolutions' borders.

    7,974 parameters, receptive field 32 before the average.
    """

    def __init__(self):
        super().__init__(
            conv_relu_bn(1, 6, bias=False), conv_relu_bn(6, 8, bias=False), conv_relu(8, 8, kernel=1, bias=False),
            nn.MaxPool2d(2),
            conv_relu_bn(8, 10, padding=1, bias=False), conv_relu_bn(10, 14, padding=1, bias=False),
            nn.MaxPool2d(2),
            conv_relu_bn(14, 16, padding=1, bias=False), conv_relu_bn(16, 20, padding=1, bias=False),
            nn.AvgPool2d(6), nn.Conv2d(20, 20, 1, bias=False), nn.Flatten(),
        )  # fmt: skip


# ---------------------------------------------------------------- Model_8 with one thing changed


class Model_8_ReLU(nn.Sequential):
    """Model_8 with ReLU in place of Hardswish: 7,996 parameters."""

    def __init__(self):
        super().__init__(
            conv_bn_relu(1, 8),
            nn.Conv2d(8, 8, 3, bias=False), nn.MaxPool2d(2), nn.BatchNorm2d(8), nn.ReLU(),
            conv_bn_relu(8, 16, padding=1),
            nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.MaxPool2d(2), nn.BatchNorm2d(16), nn.ReLU(),
            conv_bn_relu(16, 16, padding=1),
            nn.Conv2d(16, 10, 3, bias=False), nn.BatchNorm2d(10),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        )  # fmt: skip


class Model_8_ActivationFirst(nn.Sequential):
    """Model_8 with BatchNorm after Hardswish, as both published attempts have it after ReLU: 7,996 parameters."""

    def __init__(self):
        super().__init__(
            nn.Conv2d(1, 8, 3, bias=False), nn.Hardswish(), nn.BatchNorm2d(8),
            nn.Conv2d(8, 8, 3, bias=False), nn.MaxPool2d(2), nn.Hardswish(), nn.BatchNorm2d(8),
            nn.Conv2d(8, 16, 3, padding=1, bias=False), nn.Hardswish(), nn.BatchNorm2d(16),
            nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.MaxPool2d(2), nn.Hardswish(), nn.BatchNorm2d(16),
            nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.Hardswish(), nn.BatchNorm2d(16),
            nn.Conv2d(16, 10, 3, bias=False), nn.BatchNorm2d(10),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        )  # fmt: skip


class Model_8_ThirdPooling(nn.Sequential):
    """Model_8 with a third pooling before the last convolution, as in attempt A, for the average: 7,996 parameters."""

    def __init__(self):
        super().__init__(
            conv_bn_hardswish(1, 8), conv_pool_bn_hardswish(8, 8),
            conv_bn_hardswish(8, 16, padding=1), conv_pool_bn_hardswish(16, 16, padding=1),
            conv_pool_bn_hardswish(16, 16, padding=1),
            nn.Conv2d(16, 10, 3, bias=False), nn.BatchNorm2d(10),
            nn.Flatten(),
        )  # fmt: skip


class Model_8_Dropout(nn.Sequential):
    """Model_8 with dropout 0.1 after each of its first five blocks, as Model_7 has it: 7,996 parameters."""

    def __init__(self):
        super().__init__(
            conv_bn_hardswish(1, 8), nn.Dropout(0.1),
            conv_pool_bn_hardswish(8, 8), nn.Dropout(0.1),
            conv_bn_hardswish(8, 16, padding=1), nn.Dropout(0.1),
            conv_pool_bn_hardswish(16, 16, padding=1), nn.Dropout(0.1),
            conv_bn_hardswish(16, 16, padding=1), nn.Dropout(0.1),
            nn.Conv2d(16, 10, 3, bias=False), nn.BatchNorm2d(10),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        )  # fmt: skip


# ---------------------------------------------------------------- Model_8 in other sizes


class Model_8_Widths(nn.Sequential):
    """Model_8's plan with other numbers of channels in its first five layers."""

    def __init__(self, *widths):
        super().__init__(
            conv_bn_hardswish(1, widths[0]),
            conv_pool_bn_hardswish(widths[0], widths[1]),
            conv_bn_hardswish(widths[1], widths[2], padding=1),
            conv_pool_bn_hardswish(widths[2], widths[3], padding=1),
            conv_bn_hardswish(widths[3], widths[4], padding=1),
            nn.Conv2d(widths[4], 10, 3, bias=False),
            nn.BatchNorm2d(10),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )


class Model_8_EvenWidths(Model_8_Widths):
    """The same number of channels in every layer: 7,521 parameters. 14 channels would exceed the budget."""

    def __init__(self):
        super().__init__(13, 13, 13, 13, 13)


class Model_8_689(Model_8_Widths):
    """689 parameters."""

    def __init__(self):
        super().__init__(2, 3, 4, 3, 3)


class Model_8_1867(Model_8_Widths):
    """1,867 parameters."""

    def __init__(self):
        super().__init__(4, 4, 7, 7, 6)


class Model_8_2864(Model_8_Widths):
    """2,864 parameters."""

    def __init__(self):
        super().__init__(4, 8, 8, 8, 8)


class Model_8_2884(Model_8_Widths):
    """2,884 parameters."""

    def __init__(self):
        super().__init__(6, 6, 9, 9, 7)


class Model_8_2976(Model_8_Widths):
    """2,976 parameters."""

    def __init__(self):
        super().__init__(7, 7, 8, 8, 8)


class Model_8_2978(Model_8_Widths):
    """2,978 parameters."""

    def __init__(self):
        super().__init__(9, 8, 8, 7, 7)


class Model_8_3998(Model_8_Widths):
    """3,998 parameters: it was chosen to be Model_9."""

    def __init__(self):
        super().__init__(8, 8, 10, 10, 9)


class Model_8_5052(Model_8_Widths):
    """5,052 parameters."""

    def __init__(self):
        super().__init__(7, 7, 12, 12, 12)


class Model_8_5661(Model_8_Widths):
    """5,661 parameters."""

    def __init__(self):
        super().__init__(7, 7, 13, 13, 13)


class Model_8_6088(Model_8_Widths):
    """6,088 parameters."""

    def __init__(self):
        super().__init__(7, 7, 14, 14, 13)


class Model_8_7043(Model_8_Widths):
    """7,043 parameters."""

    def __init__(self):
        super().__init__(8, 8, 15, 15, 14)


class Model_8_7890(Model_8_Widths):
    """7,890 parameters."""

    def __init__(self):
        super().__init__(10, 10, 15, 15, 15)
