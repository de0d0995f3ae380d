"""The prepared arrays, byte for byte: every trained number rests on them. Those of photos are in test_photos.py."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pipeline.core import files
from pipeline.core.paths import Paths
from pipeline.download import download
from pipeline.preprocess import preprocess

SETTINGS: dict[str, dict[str, Any]] = {
    "mnist": {"val": 5000, "split_seed": 0, "checksums": None},
    "fashion_mnist": {"val": 5000, "split_seed": 0, "checksums": None},
    "tiny_imagenet": {  # 20 of the 200 classes, without the test set
        "on_bad_image": "error",
        "checksums": {
            "tiny-imagenet-200.zip": "sha256:92dd4b52ab95b3be99a3633f7b8cfd20a797aa2939403c585605fff4367da34c"
        },
    },
}
SHA256 = {
    "mnist": {
        "about.yaml": "e2e4c09b45d5c0f70f00777e5e2eb2c711b54f3bc26fc07f26aa8f5de1e3e23f",
        "test.npy": "c544e9053023b30ffd401a9825696f84af6fb1eb822bba5fcffc6992808357c3",
        "test_labels.npy": "996074233ccae69ee65b8551233f608adc1bce84b6b440e3531478a847958149",
        "train.npy": "dc0605ea223f15067be400078a0ddfb51d4f6264df04a813f6019b8ffb8c0a88",
        "train_labels.npy": "b0d218d11f85e2e2f32b26aa3afd09ce61f8c063dc9494ada90efee4c33aef9b",
        "val.npy": "4e850262fccdf314355a42662c3024503de614be09ae5791328c81461dcb5aa7",
        "val_labels.npy": "0d762dbc08d1f4d3e5fb90b562b1c3ee370f3b1f69983d694153944a7a49e43c",
    },
    "fashion_mnist": {
        "about.yaml": "8d6113569a24da63d7f62e51f82cb01b55713aa07894cb22013a573b60eceeae",
        "test.npy": "808e9818bf78178377232e2582d179bbdcc2212fba07a836cd54cc56d22714ce",
        "test_labels.npy": "33e7c41e1d27e7ea46528a86fd6d54e0eb0d60f705e95ae5e9c956635f269cbc",
        "train.npy": "7d5657d0f8a0d20b9d3779a28099fa1bce7515cb369a9e707031d85a30c7d01b",
        "train_labels.npy": "6c820c2065e3e0d49707723541fb7e88087fb4a62572c57453d68b0c4bd2a7ea",
        "val.npy": "203263c36a9c354e6c5e938ff2c485165ea243fff84594a66e9ab71d63e48d38",
        "val_labels.npy": "f5767446bfdb17dd719ea943b125a4ca4203a077662c85c12b1d1e3d36de2df2",
    },
    "tiny_imagenet": {
        "about.yaml": "cb40b78e5c3d8c34a048c6e438e3a5ce71d4144b1805868d3692d51928c500a6",
        "test.npy": "0918ec679bc6244114f2345e58447b0d5232ba9aa68de92ecedb3ca138814865",
        "test_labels.npy": "f685d1e09b13a6ef4d7db61c43ec522942845ef5c31233159740233ce25ee767",
        "train.npy": "1856d529e284b1272ca6f9d079429595f89e07a316238cf19f3db9283fc3a468",
        "train_labels.npy": "854b971384514c03f9adb0956241be3e0c9f8dd059c71b55fcbb7a88933e363b",
        "val.npy": "2485113733d1654347a1aceec9c5c9e0c29b8aefcf4b92088e526e8d73ef5e63",
        "val_labels.npy": "0d273f2c1b99518757e0eeb07067cc2e27b7da810742ae6a1ecfa986d949fd7d",
    },
}


@pytest.mark.parametrize("name", SETTINGS)
def test_prepared_arrays_are_byte_for_byte_the_same(name: str, tmp_path: Path) -> None:
    if not Path(os.environ.get("VQ_MIRROR", ""), name).is_dir():
        pytest.skip(f"set VQ_MIRROR to a folder that holds {name}/ to compare its arrays")
    paths = Paths(tmp_path)
    files.write_yaml(paths.dataset_settings(name), {"dataset": name, "settings": SETTINGS[name]})
    download(name, paths)
    preprocess(name, paths)
    assert {path.name: files.digest(path) for path in paths.prepared(name).iterdir()} == SHA256[name]
