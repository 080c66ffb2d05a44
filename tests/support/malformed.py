"""Malformed inputs by the hundred: small competitions that are sound but for one thing, drawn from fixed seeds."""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import h5py
import nibabel as nib
import numpy as np
import scipy
import tifffile
import yaml
from drawn_hosts import draw_image, draw_mask
from PIL import Image

from submissions.rle.codec import Dialect, encode

TRAIN, TEST = 5, 2
FORMATS = ("png", "jpg", "tif", "lzw.tif", "gif", "bmp", "webp", "ppm", "npy", "npz", "mat", "h5", "nii.gz")
CUTS = (0.0, 0.02, 0.1, 0.3, 0.5, 0.8, 0.97)
FLIPS = 7
BIG = 2**31 - 1

Break = Callable[[Path], None]


@dataclass(frozen=True)
class Malformed:
    """One input: what breaks a sound folder, which commands meet it, and how they have to end.

    word: what the sentence must name, where there is one. fails: whether it must end with one (None: either; a flipped
    byte may leave a picture). counted: the word is said even where it ends well. command: 'stages' (01, then 03 where
    that is well; with arguments 01 to 04) or 'guess' (new-competition).
    """

    name: str
    spoil: Break
    word: str = ""
    fails: bool | None = None
    counted: bool = False
    ext: str = "png"
    masks: str = "images"
    arguments: tuple[str, ...] = ()
    command: str = "stages"


def write_image(path: Path, pixels: np.ndarray) -> None:
    """RGB uint8 in the format that the path's ending says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.endswith(".tif"):
        tifffile.imwrite(path, pixels, photometric="rgb", compression="lzw" if ".lzw" in path.name else None)
    elif path.name.endswith(".npy"):
        np.save(path, pixels)
    elif path.name.endswith(".npz"):
        np.savez_compressed(path, image=pixels)
    elif path.name.endswith(".h5"):
        with h5py.File(path, "w") as file:
            file["image"] = pixels
    elif path.name.endswith(".mat"):
        scipy.io.savemat(path, {"image": pixels}, do_compression=True)
    elif path.name.endswith(".nii.gz"):
        nib.save(nib.Nifti1Image(pixels[..., :1], np.eye(4)), path)
    elif path.suffix in (".gif", ".webp"):
        Image.fromarray(pixels).save(path)
    else:
        cv2.imwrite(str(path), pixels[..., ::-1])


def write_sound(folder: Path, ext: str = "png", masks: str = "images") -> None:
    """data/, drawn.yaml and tiny.yaml of a small competition that nothing is wrong with."""
    volumes = ext == "nii.gz"
    rows = ["id,rle,site"]
    for number in range(TRAIN + TEST):
        mask, split = draw_mask(number), "train" if number < TRAIN else "test"
        write_image(folder / "data" / split / f"a{number}.{ext}", draw_image(mask, number))
        rows += [f"a{number},{encode(mask, Dialect())},s{number % 2}"] * (split == "train")
        if split == "train":
            path = folder / "data" / "masks" / f"a{number}.{'nii.gz' if volumes else 'png'}"
            path.parent.mkdir(exist_ok=True)
            if volumes:
                nib.save(nib.Nifti1Image(mask[..., None].astype(np.uint8), np.eye(4)), path)
            else:
                cv2.imwrite(str(path), mask.astype(np.uint8) * 255)
    (folder / "data" / "train.csv").write_text("\n".join(rows) + "\n")
    given: dict[str, object] = {"kind": "rle", "table": {"file": "train.csv"}, "column": "rle"}
    if masks == "images":
        value = 1 if volumes else 255
        path = f"masks/{{id}}.{'nii.gz' if volumes else 'png'}"
        given = {"kind": "images", "path": path, "values": {0: [], value: "thing"}}
    contract = {
        "name": "drawn", "images": {"train": f"train/{{id}}.{ext}", "test": f"test/{{id}}.{ext}"}, "masks": given,
        "tables": [{"file": "train.csv"}], "classes": ["thing"], "metric": {"name": "dice"}, "submission": {},
    }  # fmt: skip
    (folder / "drawn.yaml").write_text(yaml.safe_dump(contract))
    experiment = {
        "name": "tiny", "competition": str(folder / "drawn.yaml"), "folds": {"method": "kfold", "n": 2},
        "input": {"channels": 3}, "model": {"encoder": "mobilenetv3_small_050", "weights": "none"},
        "train": {"epochs": 1, "steps_per_epoch": 1, "batch_size": 2, "patch": [32, 32]},
    }  # fmt: skip
    (folder / "tiny.yaml").write_text(yaml.safe_dump(experiment))


def sound_case(ext: str = "png", masks: str = "images", arguments: tuple[str, ...] = ()) -> Malformed:
    """A competition that nothing is wrong with."""
    return Malformed("sound", lambda _: None, ext=ext, masks=masks, arguments=arguments)


def commands_of(case: Malformed, folder: Path) -> list[list[str]]:
    """What a user would type, as [module, argument, ...]."""
    if case.command == "guess":
        return [["pipeline.__main__", "new-competition", str(folder / "data"), "--out", str(folder / "first.yaml")]]
    common = [str(folder / "tiny.yaml"), "--data", str(folder / "data"), "--runs", str(folder / "runs")]
    names = ["01_check_data", *(["02_make_folds"] if case.arguments else []), "03_prepare_data"]
    names += ["04_train"] if case.arguments else []
    return [[f"pipeline.{name}", *common, "--device", "cpu", *case.arguments] for name in names]


def malformed_inputs() -> list[Malformed]:
    """All of them, in a fixed order; names are unlike one another."""
    groups = (
        _cut_cases, _flipped_cases, _lied_cases, _mask_cases, _table_cases, _contract_cases, _experiment_cases,
        _name_cases, _entry_cases,
    )  # fmt: skip
    found = [case for group in groups for case in group()]
    assert len({case.name for case in found}) == len(found) >= 300
    return found


def _cut(folder: Path, *, path: str, share: float) -> None:
    target = folder / path
    content = target.read_bytes()
    target.write_bytes(content[: int(len(content) * share)])


def _flip(folder: Path, *, path: str, seed: int) -> None:
    rng, target = np.random.default_rng(seed), folder / path
    content = bytearray(target.read_bytes())
    reach = len(content) if seed % 2 else min(len(content), 64)
    for place in rng.integers(0, reach, 1 + seed % 4):
        content[place] ^= int(rng.integers(1, 256))
    target.write_bytes(bytes(content))


def _replace(folder: Path, *, path: str, content: bytes) -> None:
    (folder / path).write_bytes(content)


def _patched(folder: Path, *, path: str, at: int, content: bytes) -> None:
    target = folder / path
    whole = target.read_bytes()
    target.write_bytes(whole[:at] + content + whole[at + len(content) :])


def _files() -> Iterator[tuple[str, str]]:
    for ext in FORMATS:
        yield ext, f"data/train/a1.{ext}"


def _cut_cases() -> Iterator[Malformed]:
    for ext, path in _files():
        for share in CUTS:
            yield Malformed(f"{ext} cut at {share:.0%}", partial(_cut, path=path, share=share), f"a1.{ext}", ext=ext)


def _flipped_cases() -> Iterator[Malformed]:
    for ext, path in _files():
        for seed in range(FLIPS):
            yield Malformed(f"{ext} flipped {seed}", partial(_flip, path=path, seed=seed), f"a1.{ext}", ext=ext)


def _lied_cases() -> Iterator[Malformed]:
    """Headers that promise more than there is, nothing, or less than nothing."""
    sizes = {"png": (16, ">I"), "bmp": (18, "<i")}
    for ext, (at, code) in sizes.items():
        for value in (0, 1, 65535, BIG):
            change = partial(_patched, path=f"data/train/a1.{ext}", at=at, content=struct.pack(code, value) * 2)
            yield Malformed(f"{ext} says {value} pixels", change, f"a1.{ext}", fails=True, ext=ext)
    for value in (-1, 0, 32767):
        change = partial(_nifti_says, value=value)
        yield Malformed(f"nii.gz says {value}", change, "a1.nii.gz", fails=None if value == 0 else True, ext="nii.gz")
    shapes = ("(100000, 100000, 3)", "(-4, 5)", "(4,", "(1000000000000,)", "()", "(2, 3, 4, 5, 6)", "(0, 40, 3)")
    for shape in shapes:
        for kind in ("|u1", "|O", "<f8"):
            change = partial(_array_says, shape=shape, kind=kind)
            yield Malformed(f"npy says {shape} of {kind}", change, "a1.npy", fails=True, ext="npy")
    for tag, value in ((256, 0), (256, BIG), (257, BIG), (258, 77), (259, 9999), (262, 99), (277, 500), (278, 0)):
        change = partial(_tiff_says, tag=tag, value=value)
        yield Malformed(f"tif tag {tag} says {value}", change, "a1.tif", ext="tif")


def _nifti_says(folder: Path, *, value: int) -> None:
    import gzip

    path = folder / "data/train/a1.nii.gz"
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[42:48] = struct.pack("<3h", value, value, value)
    path.write_bytes(gzip.compress(bytes(content)))


def _array_says(folder: Path, *, shape: str, kind: str) -> None:
    head = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + bytes(64)
    _replace(folder, path="data/train/a1.npy", content=content)


def _tiff_says(folder: Path, *, tag: int, value: int) -> None:
    path = folder / "data/train/a1.tif"
    with tifffile.TiffFile(path) as file:
        entry = file.pages[0].tags[tag]  # type: ignore[union-attr]
        at, code = entry.offset, file.byteorder
    short = struct.pack(code + "HHIHH", tag, 3, 1, value % 65536, 0)
    long = struct.pack(code + "HHII", tag, 4, 1, value)
    _patched(folder, path="data/train/a1.tif", at=at, content=long if value > 65535 else short)


def _mask_cases() -> Iterator[Malformed]:
    path = "data/masks/a1.png"
    for share in CUTS:
        yield Malformed(f"mask cut at {share:.0%}", partial(_cut, path=path, share=share), "a1")
    for seed in range(FLIPS):
        yield Malformed(f"mask flipped {seed}", partial(_flip, path=path, seed=seed), "a1")
    pixels = {
        "of another size": np.zeros((7, 9), np.uint8), "of one pixel": np.zeros((1, 1), np.uint8),
        "of other values": np.full((40, 56), 3, np.uint8), "of three channels": np.full((40, 56, 3), 9, np.uint8),
        "of four channels": np.full((40, 56, 4), 9, np.uint8), "of sixteen bits": np.full((40, 56), 60000, np.uint16),
    }  # fmt: skip
    for name, mask in pixels.items():
        content = cv2.imencode(".png", mask)[1].tobytes()
        yield Malformed(f"mask {name}", partial(_replace, path=path, content=content), "a1", fails=True)


def _table_cases() -> Iterator[Malformed]:
    path, rle = "data/train.csv", "rle"
    for share in CUTS:
        yield Malformed(f"table cut at {share:.0%}", partial(_cut, path=path, share=share), masks=rle)
    for seed in range(2 * FLIPS):
        yield Malformed(f"table flipped {seed}", partial(_flip, path=path, seed=seed), masks=rle)
    runs = {
        "odd": "1 2 3", "negative": "-5 3", "zero": "0 4", "beyond": "1 99999999", "backwards": "50 3 10 4",
        "overlap": "1 10 5 10", "words": "one two", "floats": "1.5 2", "huge": f"{10**30} 4", "none": "nan",
        "letters after": "1 2x", "commas": "1;2", "hex": "0x1 2", "nul": "1 \0 2", "long": "1 1 " * 40000,
        "exponent": "1e3 2", "newline": '"1\n2"', "brackets": '"[1, 2]"', "infinite": "inf inf", "arabic": "١ ٢",
    }  # fmt: skip
    for name, text in runs.items():
        yield Malformed(f"runs {name}", partial(_row_says, text=text), masks=rle)
    texts = {
        "is empty": b"", "is a blank": b" \n", "has a header only": b"id,rle,site\n",
        "is binary": bytes(range(256)) * 9,
        "is UTF-16": "id,rle,site\na1,1 2,s\n".encode("utf-16"), "is latin": b"id,rle,site\na\xe9,1 2,s\n",
        "has no id": b"name,rle\na1,1 2\n", "has no runs": b"id,site\na1,s\n", "has a quote open": b'id,rle\n"a1,1 2\n',
        "has more cells": b"id,rle\na1,1 2,3,4,5\n", "has an id twice": b"id,id,rle\na1,a1,1 2\n",
        "has semicolons": b"id;rle\na1;1 2\n", "has strange ids": b"id,rle\n../../etc/passwd,1 2\n",
        "is HTML": b"<html><body>Sign in</body></html>", "has a long cell": b"id,rle\n" + b"a" * 300000 + b",1 2\n",
        "has NULs": b"id,rle\n\0\0\0,\0\n", "has CR only": b"id,rle\ra1,1 2\r", "is one quote": b'"',
    }  # fmt: skip
    for name, content in texts.items():
        yield Malformed(f"table {name}", partial(_replace, path=path, content=content), fails=True, masks=rle)


def _row_says(folder: Path, *, text: str) -> None:
    path = folder / "data/train.csv"
    lines = path.read_text().splitlines()
    lines[2] = f"a1,{text},s1"
    path.write_text("\n".join(lines) + "\n")


def _contract_cases() -> Iterator[Malformed]:
    patterns = (
        "/etc/{id}", "../{id}.png", "{id}", "{id}{id}.png", "train/{}.png", "train/{id.png", "train/id}.png", "",
        "/", ".",
        "train/*.png", "train/{id:q}.png", "{a}{b}.png", "train/\0{id}.png", "train/{id}.png/", "**/{id}", "~/{id}.png",
        "train/" + "x" * 300 + "{id}.png", "train/{id}\n.png", "{__class__}", "{0}", "train/{id!r}.png",
        "\\{id}", "[{id}",
    )  # fmt: skip
    for number, pattern in enumerate(patterns):
        change = partial(_key_says, path="drawn.yaml", keys=("images", "train"), value=pattern)
        yield Malformed(f"images.train {number}: {pattern[:20]!r}", change, fails=True)
    keys = ("name", "images", "masks", "classes", "metric", "submission", "tables", "group")
    values: tuple[object, ...] = (None, 7, "x", [], {}, [[]], True, 1e308, {"file": "/dev/zero"}, ["thing", "thing"])
    for key in keys:
        for number, value in enumerate(values):
            change = partial(_key_says, path="drawn.yaml", keys=(key,), value=value)
            yield Malformed(f"contract {key} is value {number}", change)
    yield from _documents("drawn.yaml")


def _experiment_cases() -> Iterator[Malformed]:
    settings = (
        "train.patch=[1000000, 1000000]", "train.patch=[0, 0]", "train.patch=[-32, 32]", "train.patch=[32]",
        "train.patch=x",
        "train.patch=[1.5, 32]", "train.patch=[]", "folds.n=0", "folds.n=1", "folds.n=99", "folds.n=-1", "folds.n=1e9",
        "folds.n=nan", "folds.method=", "folds.method=../x", "folds.group=nothing", "folds.use=[7]", "seed=-1",
        "seed=99999999999999999999", "limit=0", "limit=-3", "name=", "name=../../x", "name=a/b", "name=" + "n" * 300,
        "prepare.scale=0", "prepare.scale=-1", "prepare.scale=nan", "prepare.scale=1e9", "prepare.scale=inf",
        "prepare.store=floppy", "input.channels=0", "input.channels=-1", "input.channels=100000", "nothing=1",
        "train=", "train=[]", "=", "==", "a.b.c.d=1", "train.epochs={}", "folds.repeats=0", "folds.buffer=-1",
        "folds.buffer=inf", "input.offsets=[]", "input.offsets=[0,0]", "input.offsets=[-99999999,0]", "competition=",
        "competition=/dev/null", "competition=nothing", "task=x", "train.batch_size=0", "seed=[1",
        "name={{}}", "name=!!x y",
    )  # fmt: skip
    for number, setting in enumerate(settings):
        yield Malformed(
            f"setting {number}: {setting[:40]!r}", lambda _: None, setting.split("=")[0].split(".")[-1],
            arguments=("--set", setting),
        )  # fmt: skip
    yield from _documents("tiny.yaml")


def _documents(path: str) -> Iterator[Malformed]:
    bomb = b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
        f"{chr(98 + k)}: &{chr(98 + k)} [{','.join([f'*{chr(97 + k)}'] * 9)}]\n".encode() for k in range(9)
    )
    texts = {
        "is empty": b"", "is a list": b"- 1\n- 2\n", "is a word": b"word", "has a tab": b"name:\n\tx: 1\n",
        "is binary": bytes(range(256)), "is unclosed": b"name: [1, 2", 
        "is a tag": b"!!python/object/apply:os.system [ls]",
        "has a key twice": b"name: a\nname: b\n", "is a bomb": bomb, "is deep": b"[" * 5000, "is a loop": b"&a [*a]",
        "is two documents": b"name: a\n---\nname: b\n", "is a date": b"2020-01-01",
        "is UTF-16": "name: a".encode("utf-16"),
        "is a mapping of lists": b"? [1, 2]\n: 3\n", "is nul": b"\0", "is a missing anchor": b"name: *gone\n",
    }  # fmt: skip
    for name, content in texts.items():
        yield Malformed(f"{path} {name}", partial(_replace, path=path, content=content), fails=True)
    for seed in range(2 * FLIPS):
        yield Malformed(f"{path} flipped {seed}", partial(_flip, path=path, seed=seed))
    for share in CUTS[1:]:
        yield Malformed(f"{path} cut at {share:.0%}", partial(_cut, path=path, share=share))


def _key_says(folder: Path, *, path: str, keys: tuple[str, ...], value: object) -> None:
    document = yaml.safe_load((folder / path).read_text())
    place = document
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    (folder / path).write_text(json.dumps(document))


def _name_cases() -> Iterator[Malformed]:
    stems: dict[str, str | bytes] = {
        "newline": "a\nb", "quotes": "a'b\"c", "comma": "a,b", "blank": " a ", "dash": "-rf", "equals": "--set=x",
        "long": "n" * 251, "dots": "a.b..c", "percent": "%s%n", "braces": "{id}", "star": "*", "brackets": "[a-z]",
        "emoji": "\U0001f42d", "combining": "e\u0301", "right to left": "\u202eabc", "no UTF-8": b"a\xff\xfe",
        "backslash": "a\\b", "bell": "a\x07", "formula": "=1+1", "hash": "#1", "colon": "c:x", "none": "nan",
        "number": "007", "layer": "a|b", "dollar": "$HOME", "tilde": "~root", "tab": "a\tb", "separator": "a\x1fb",
    }  # fmt: skip
    for name, stem in stems.items():
        for command in ("stages", "guess"):
            yield Malformed(f"name with {name}, {command}", partial(_named, stem=stem), command=command)


def _named(folder: Path, *, stem: str | bytes) -> None:
    for place in ("train", "masks"):
        path = folder / "data" / place / "a1.png"
        path.rename(path.with_name(os.fsdecode(stem) + ".png"))
    _key_says(folder, path="drawn.yaml", keys=("tables",), value=[])  # no table that still says the old name


def _entry_cases() -> Iterator[Malformed]:
    entries: dict[str, Break] = {
        "a folder": lambda path: path.mkdir(),
        "a pipe": lambda path: os.mkfifo(path),
        "a socket": _bind,
        "a link to nothing": lambda path: path.symlink_to("nowhere"),
        "a link to itself": lambda path: path.symlink_to(path.name),
        "a link to its folder": lambda path: path.symlink_to("."),
        "a link to zeros": lambda path: path.symlink_to("/dev/zero"),
        "a link to a terminal": lambda path: path.symlink_to("/dev/tty"),
        "without rights": lambda path: (path.write_bytes(b"x"), path.chmod(0))[0] and None,
        "empty": lambda path: path.write_bytes(b"") and None,
        "text": lambda path: path.write_text("not found") and None,
    }
    places = {
        "image": "train/a1.png",
        "mask": "masks/a1.png",
        "table": "train.csv",
        "folder": "train",
        "test": "test/a5.png",
    }
    for entry, make in entries.items():
        for place, path in places.items():
            fails = None if place == "test" else True
            change = partial(_put, path=path, make=make)
            word = Path(path).name.removesuffix(".png")
            yield Malformed(f"the {place} is {entry}", change, word, fails=fails, counted=True)
            if place in ("image", "folder"):
                yield Malformed(f"the {place} is {entry}, guess", change, command="guess")


def _bind(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the name of a socket has at most 108 bytes
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(here)


def _put(folder: Path, *, path: str, make: Break) -> None:
    target = folder / "data" / path
    if target.is_dir():
        for inner in target.iterdir():
            inner.unlink()
        target.rmdir()
    else:
        target.unlink()
    make(target)
