"""Every network of the three steps, in their order: architecture and nothing else.

Each model is the list of its layers. They take images of shape (N, 1, 28, 28), normalised, and return logits of
shape (N, 10), Model_7 (N, 20). The comment at a line's end is what leaves that line: channels x height x width, then
the receptive field in input pixels. The tests recompute each of them.

Models 1-7 rebuild two published attempts at this assignment, layer for layer: "attempt A"
(https://github.com/Jaydeep-singh-1999/ERA-V1/tree/8d7668572c29c93649c29830ceac84a1267ed2d6/S7) and "attempt B"
(https://github.com/Ujwal-EVA/Assignment---7).
"""

from torch import nn


class Chain(nn.Sequential):
    """Chain the layers that a subclass lists; a slice is a plain nn.Sequential, which shares them.

    nn.Sequential makes a slice by calling its own class with the layers, and a model's class takes none.
    """

    def __getitem__(self, index: int | slice) -> nn.Module:
        return nn.Sequential(*self)[index]


def conv_relu(inputs: int, outputs: int, kernel: int = 3, padding: int = 0, bias: bool = True) -> nn.Sequential:
    """Chain a convolution and ReLU."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, padding=padding, bias=bias), nn.ReLU(inplace=True))


def conv_relu_bn(inputs: int, outputs: int, kernel: int = 3, padding: int = 0, bias: bool = True) -> nn.Sequential:
    """Chain a convolution, ReLU and BatchNorm: the order that both published attempts ended with."""
    return conv_relu(inputs, outputs, kernel, padding, bias).append(nn.BatchNorm2d(outputs))


def conv_bn_relu(inputs: int, outputs: int, kernel: int = 3, padding: int = 0) -> nn.Sequential:
    """Chain a convolution, BatchNorm and ReLU; BatchNorm's shift makes the convolution's bias redundant."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=padding, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def conv_bn_hardswish(inputs: int, outputs: int, padding: int = 0) -> nn.Sequential:
    """Chain a 3x3 convolution, BatchNorm and Hardswish: x * relu6(x + 3) / 6, a ReLU with a soft corner."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=padding, bias=False), nn.BatchNorm2d(outputs), nn.Hardswish()
    )


def conv_pool_bn_hardswish(inputs: int, outputs: int, padding: int = 0) -> nn.Sequential:
    """Pool before BatchNorm and Hardswish, which then have a quarter of the pixels to work on."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=padding, bias=False),
        nn.MaxPool2d(2),
        nn.BatchNorm2d(outputs),
        nn.Hardswish(),
    )


# ---------------------------------------------------------------- Step 1: can 99.4 % be held when parameters are free


class Model_1(Chain):
    """A plain network without a budget: 6,379,786 parameters, receptive field 40.

    Published as attempt B, Batch 1. Images (N, 1, 28, 28) to logits (N, 10).
    """

    def __init__(self):
        super().__init__(
            conv_relu(1, 32, padding=1),  # 32 x 28 x 28, RF 3
            conv_relu(32, 64, padding=1),  # 64 x 28 x 28, RF 5
            nn.MaxPool2d(2),  # 64 x 14 x 14, RF 6
            conv_relu(64, 128, padding=1),  # 128 x 14 x 14, RF 10
            conv_relu(128, 256, padding=1),  # 256 x 14 x 14, RF 14
            nn.MaxPool2d(2),  # 256 x 7 x 7, RF 16
            conv_relu(256, 512),  # 512 x 5 x 5, RF 24
            conv_relu(512, 1024),  # 1024 x 3 x 3, RF 32
            nn.Conv2d(1024, 10, 3),  # 10 x 1 x 1, RF 40
            nn.Flatten(),  # 10, RF 40
        )


class Model_2(Chain):
    """No 1,024-channel layer, 1x1 head: 1,968,874 parameters, receptive field 28.

    Published as attempt A, Model_1. Images (N, 1, 28, 28) to logits (N, 10).
    """

    def __init__(self):
        super().__init__(
            conv_relu(1, 32),  # 32 x 26 x 26, RF 3
            conv_relu(32, 64),  # 64 x 24 x 24, RF 5
            conv_relu(64, 128),  # 128 x 22 x 22, RF 7
            conv_relu(128, 256),  # 256 x 20 x 20, RF 9
            nn.MaxPool2d(2),  # 256 x 10 x 10, RF 10
            nn.Conv2d(256, 32, 1),  # 32 x 10 x 10, RF 10
            conv_relu(32, 64),  # 64 x 8 x 8, RF 14
            conv_relu(64, 128),  # 128 x 6 x 6, RF 18
            conv_relu(128, 256),  # 256 x 4 x 4, RF 22
            nn.Conv2d(256, 512, 3),  # 512 x 2 x 2, RF 26
            nn.MaxPool2d(2),  # 512 x 1 x 1, RF 28
            nn.Conv2d(512, 10, 1),  # 10 x 1 x 1, RF 28
            nn.Flatten(),  # 10, RF 28
        )


class Model_3(Chain):
    """Model_2 with BatchNorm after each ReLU: 1,970,730 parameters, receptive field 28.

    Published as attempt A, Model_2, whose write-up states 1,968,874, the count of Model_2; the seven BatchNorms add
    1,856. Images (N, 1, 28, 28) to logits (N, 10).
    """

    def __init__(self):
        super().__init__(
            conv_relu_bn(1, 32),  # 32 x 26 x 26, RF 3
            conv_relu_bn(32, 64),  # 64 x 24 x 24, RF 5
            conv_relu_bn(64, 128),  # 128 x 22 x 22, RF 7
            conv_relu_bn(128, 256),  # 256 x 20 x 20, RF 9
            nn.MaxPool2d(2),  # 256 x 10 x 10, RF 10
            nn.Conv2d(256, 32, 1),  # 32 x 10 x 10, RF 10
            conv_relu_bn(32, 64),  # 64 x 8 x 8, RF 14
            conv_relu_bn(64, 128),  # 128 x 6 x 6, RF 18
            conv_relu_bn(128, 256),  # 256 x 4 x 4, RF 22
            nn.Conv2d(256, 512, 3),  # 512 x 2 x 2, RF 26
            nn.MaxPool2d(2),  # 512 x 1 x 1, RF 28
            nn.Conv2d(512, 10, 1),  # 10 x 1 x 1, RF 28
            nn.Flatten(),  # 10, RF 28
        )


# ---------------------------------------------------------------- Step 2: into the budget


class Model_4(Chain):
    """Narrow layers, BatchNorm, dropout 0.25: 10,970 parameters, receptive field 28.

    Published as attempt B, Batch 2. The 7x7 head alone takes 4,900 of them, and the network is still over the budget.
    Images (N, 1, 28, 28) to logits (N, 10).
    """

    def __init__(self):
        super().__init__(
            conv_bn_relu(1, 10),  # 10 x 26 x 26, RF 3
            conv_bn_relu(10, 10),  # 10 x 24 x 24, RF 5
            conv_bn_relu(10, 20),  # 20 x 22 x 22, RF 7
            nn.Dropout(0.25),  # 20 x 22 x 22, RF 7
            nn.MaxPool2d(2),  # 20 x 11 x 11, RF 8
            conv_bn_relu(20, 10, kernel=1),  # 10 x 11 x 11, RF 8
            conv_bn_relu(10, 10),  # 10 x 9 x 9, RF 12
            conv_bn_relu(10, 20),  # 20 x 7 x 7, RF 16
            nn.Dropout(0.25),  # 20 x 7 x 7, RF 16
            conv_bn_relu(20, 10, kernel=1),  # 10 x 7 x 7, RF 16
            nn.Conv2d(10, 10, 7, bias=False),  # 10 x 1 x 1, RF 28
            nn.Flatten(),  # 10, RF 28
        )


class Model_5(Chain):
    """Like Model_3, shallower, 8 to 16 channels: 7,836 parameters, receptive field 28.

    Published as attempt A, Model_3. Images (N, 1, 28, 28) to logits (N, 10).
    """

    def __init__(self):
        super().__init__(
            conv_relu_bn(1, 8),  # 8 x 26 x 26, RF 3
            conv_relu_bn(8, 12),  # 12 x 24 x 24, RF 5
            nn.MaxPool2d(2),  # 12 x 12 x 12, RF 6
            conv_relu_bn(12, 14),  # 14 x 10 x 10, RF 10
            nn.Conv2d(14, 8, 1),  # 8 x 10 x 10, RF 10
            conv_relu_bn(8, 12),  # 12 x 8 x 8, RF 14
            conv_relu_bn(12, 16),  # 16 x 6 x 6, RF 18
            nn.MaxPool2d(2),  # 16 x 3 x 3, RF 20
            nn.Conv2d(16, 16, 3),  # 16 x 1 x 1, RF 28
            nn.Conv2d(16, 10, 1),  # 10 x 1 x 1, RF 28
            nn.Flatten(),  # 10, RF 28
        )


class Model_6(Chain):
    """Model_5 with dropout 0.1 in four places: 7,836 parameters, receptive field 28.

    Published as attempt A, Model_4. Images (N, 1, 28, 28) to logits (N, 10).
    """

    def __init__(self):
        super().__init__(
            conv_relu_bn(1, 8),  # 8 x 26 x 26, RF 3
            nn.Dropout(0.1),  # 8 x 26 x 26, RF 3
            conv_relu_bn(8, 12),  # 12 x 24 x 24, RF 5
            nn.Dropout(0.1),  # 12 x 24 x 24, RF 5
            nn.MaxPool2d(2),  # 12 x 12 x 12, RF 6
            conv_relu_bn(12, 14),  # 14 x 10 x 10, RF 10
            nn.Dropout(0.1),  # 14 x 10 x 10, RF 10
            nn.Conv2d(14, 8, 1),  # 8 x 10 x 10, RF 10
            conv_relu_bn(8, 12),  # 12 x 8 x 8, RF 14
            nn.Dropout(0.1),  # 12 x 8 x 8, RF 14
            conv_relu_bn(12, 16),  # 16 x 6 x 6, RF 18
            nn.MaxPool2d(2),  # 16 x 3 x 3, RF 20
            nn.Conv2d(16, 16, 3),  # 16 x 1 x 1, RF 28
            nn.Conv2d(16, 10, 1),  # 10 x 1 x 1, RF 28
            nn.Flatten(),  # 10, RF 28
        )


# ---------------------------------------------------------------- Step 3: to the target


class Model_7(Chain):
    """Average pooling, a 1x1 head, dropout seven times: 7,974 parameters, receptive field 22 (32 after the average).

    Images (N, 1, 28, 28) to logits (N, 20). Published as attempt B, Batch 3, whose code leaves the
    1x1 convolution without ReLU and dropout, against its write-up. The head has 20 outputs, as published: ten of them,
    200 parameters, stand for no digit.
    """

    def __init__(self):
        super().__init__(
            conv_relu_bn(1, 6, bias=False),  # 6 x 26 x 26, RF 3
            nn.Dropout(0.1),  # 6 x 26 x 26, RF 3
            conv_relu_bn(6, 8, bias=False),  # 8 x 24 x 24, RF 5
            nn.Dropout(0.1),  # 8 x 24 x 24, RF 5
            conv_relu(8, 8, kernel=1, bias=False),  # 8 x 24 x 24, RF 5
            nn.Dropout(0.1),  # 8 x 24 x 24, RF 5
            nn.MaxPool2d(2),  # 8 x 12 x 12, RF 6
            conv_relu_bn(8, 10, bias=False),  # 10 x 10 x 10, RF 10
            nn.Dropout(0.1),  # 10 x 10 x 10, RF 10
            conv_relu_bn(10, 14, bias=False),  # 14 x 8 x 8, RF 14
            nn.Dropout(0.1),  # 14 x 8 x 8, RF 14
            conv_relu_bn(14, 16, bias=False),  # 16 x 6 x 6, RF 18
            nn.Dropout(0.1),  # 16 x 6 x 6, RF 18
            conv_relu_bn(16, 20, padding=1, bias=False),  # 20 x 6 x 6, RF 22
            nn.Dropout(0.1),  # 20 x 6 x 6, RF 22
            nn.AvgPool2d(6),  # 20 x 1 x 1, RF 32
            nn.Conv2d(20, 20, 1, bias=False),  # 20 x 1 x 1, RF 32
            nn.Flatten(),  # 20, RF 32
        )


class Model_8(Chain):
    """Ours, every convolution 3x3: 7,996 parameters, receptive field 32 (44 after the average).

    Images (N, 1, 28, 28) to logits (N, 10). The global average turns the last convolution's ten maps into the ten
    logits: that convolution, 1,440 parameters, is the head.
    """

    def __init__(self):
        super().__init__(
            conv_bn_hardswish(1, 8),  # 8 x 26 x 26, RF 3
            conv_pool_bn_hardswish(8, 8),  # 8 x 12 x 12, RF 6
            conv_bn_hardswish(8, 16, padding=1),  # 16 x 12 x 12, RF 10
            conv_pool_bn_hardswish(16, 16, padding=1),  # 16 x 6 x 6, RF 16
            conv_bn_hardswish(16, 16, padding=1),  # 16 x 6 x 6, RF 24
            nn.Conv2d(16, 10, 3, bias=False),  # 10 x 4 x 4, RF 32
            nn.BatchNorm2d(10),  # 10 x 4 x 4, RF 32
            nn.AdaptiveAvgPool2d(1),  # 10 x 1 x 1, RF 44
            nn.Flatten(),  # 10, RF 44
        )


class Model_9(Chain):
    """Model_8 with fewer channels: 5,052 parameters, receptive field 32 (44 after the average).

    Images (N, 1, 28, 28) to logits (N, 10).
    """

    def __init__(self):
        super().__init__(
            conv_bn_hardswish(1, 7),  # 7 x 26 x 26, RF 3
            conv_pool_bn_hardswish(7, 7),  # 7 x 12 x 12, RF 6
            conv_bn_hardswish(7, 12, padding=1),  # 12 x 12 x 12, RF 10
            conv_pool_bn_hardswish(12, 12, padding=1),  # 12 x 6 x 6, RF 16
            conv_bn_hardswish(12, 12, padding=1),  # 12 x 6 x 6, RF 24
            nn.Conv2d(12, 10, 3, bias=False),  # 10 x 4 x 4, RF 32
            nn.BatchNorm2d(10),  # 10 x 4 x 4, RF 32
            nn.AdaptiveAvgPool2d(1),  # 10 x 1 x 1, RF 44
            nn.Flatten(),  # 10, RF 44
        )
