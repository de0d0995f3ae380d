"""MNIST: handwritten digits, 28×28, 60,000 for training and 10,000 for testing, ten classes."""

from __future__ import annotations

from pipeline.datasets import Source
from pipeline.datasets._torchvision import TorchvisionDataset
from pipeline.datasets.io.fetch import File

URLS = ("https://ossci-datasets.s3.amazonaws.com/mnist", "https://storage.googleapis.com/cvdf-datasets/mnist")


def idx_file(urls: tuple[str, ...], name: str, md5: str, size: int) -> File:
    return File(name, f"md5:{md5}", size, tuple(f"{url}/{name}" for url in urls))


class Mnist(TorchvisionDataset):
    """Grey digits in [0, 1] minus 0.5, the convention of Fashion-MNIST in LL-VQ-VAE's code."""

    source = Source(
        title="MNIST",
        url="http://yann.lecun.com/exdb/mnist/",
        licence="CC BY-SA 3.0, as commonly given",
        cite="LeCun, Bottou, Bengio, Haffner: Gradient-based learning applied to document recognition, "
        "Proceedings of the IEEE 86(11), 1998",
    )
    offset = 0.5
    reader, unpacked = "MNIST", "MNIST/raw"
    image_shape = (28, 28)
    files = (
        idx_file(URLS, "train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873", 9_912_422),
        idx_file(URLS, "train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432", 28_881),
        idx_file(URLS, "t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3", 1_648_877),
        idx_file(URLS, "t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c", 4_542),
    )
