"""Fashion-MNIST: pictures of clothes, 28×28, 60,000 for training and 10,000 for testing, ten classes."""

from __future__ import annotations

from pipeline.datasets import Source
from pipeline.datasets.mnist import Mnist, idx_file

URLS = (
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion",
)


class FashionMnist(Mnist):
    """Grey clothes in [0, 1] minus 0.5, 55,000/5,000/10,000, as in LL-VQ-VAE's code; the files' form is MNIST's."""

    source = Source(
        title="Fashion-MNIST",
        url="https://github.com/zalandoresearch/fashion-mnist",
        licence="MIT",
        cite="Xiao, Rasul, Vollgraf: Fashion-MNIST: a novel image dataset for benchmarking machine learning "
        "algorithms, arXiv:1708.07747, 2017",
    )
    reader, unpacked = "FashionMNIST", "FashionMNIST/raw"
    files = (
        idx_file(URLS, "train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d", 26_421_880),
        idx_file(URLS, "train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe", 29_515),
        idx_file(URLS, "t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79", 4_422_102),
        idx_file(URLS, "t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310", 5_148),
    )
