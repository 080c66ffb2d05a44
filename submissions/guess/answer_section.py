"""The section `submission` of a first contract: as a sample shows it, as COCO's documents, or a plain one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from submissions.guess.draft import Draft
from submissions.guess.layout.files import FileGroup, near_files
from submissions.guess.tables import SAMPLE, FoundTable, holds_runs, samples_of
from submissions.images.damaged import read_json
from submissions.rle.text import KNOWN_EMPTIES

EMPTY_WORD = re.compile(rf"[a-zA-Z_]+|{'|'.join(KNOWN_EMPTIES)}")
DECIMAL = re.compile(r"[0-9]*\.[0-9]+")
JSON = re.compile(r".*\.json")
OF_ITK = (".mhd", ".mha", ".nrrd")
MOST_DOCUMENTS = 30
MOSTLY = 0.9  # of the test images, that a document must name


def put_answer(
    draft: Draft, folder: Path, tables: Sequence[FoundTable], test: FileGroup | None, runs: FoundTable | None
) -> None:
    """The submission as the sample shows it, or COCO's documents; a plain one without these."""
    samples = samples_of(tables)
    images = draft.sections["images"]
    if test is None and "test" not in images:
        images["test"] = images["train"]
        draft.notes["images"].append(
            "guess: no test images were found, so the training images stand in for them to make everything run; "
            "change it"
        )
        if images.get("only_listed") and "test_tables" not in draft.sections:
            draft.put("test_tables", draft.sections["tables"], "those of the training images")
    if test is not None and not samples and _put_coco(draft, folder, test):
        return
    if test is None or not samples:
        why = (
            f"{samples[0].file} is of test images, and none were found" if samples else "no sample submission was found"
        )
        _put_plain_submission(draft, why)
        return
    sample, *others = samples
    unused = [f"not used: {other.file}" + (f" ({other.fault})" if other.fault else "") for other in others]
    if sample.fault:
        _put_plain_submission(draft, f"{sample.file} is not readable, and stage 01 says so", *unused)
        draft.sections["submission"]["sample"] = sample.file
        return
    if _asks_for_numbers(sample) and _label_volumes(draft) is not None:
        _put_plain_submission(draft, f"{sample.file} asks for a number a row, and masks are no such answer", *unused)
        return
    _put_table(draft, sample, test, runs, notes=unused)


def _asks_for_numbers(sample: FoundTable) -> bool:
    """Whether the last column of a sample holds decimals alone, probabilities of what an image shows."""
    cells = [str(cell).strip() for cell in sample.frame.iloc[:, -1]]
    return bool(cells) and all(map(DECIMAL.fullmatch, cells))


def _put_table(draft: Draft, sample: FoundTable, test: FileGroup, runs: FoundTable | None, *, notes: list[str]) -> None:
    """A table as the sample shows it."""
    columns = [str(name) for name in sample.frame.columns]
    keys = re.findall(r"{(\w+)}", sample.id)
    section: dict[str, Any] = {"sample": sample.file, "id_column": keys[0]}
    rest = [name for name in columns if name not in keys]
    section["mask_column"] = next((name for name in rest if runs and name == runs.runs), rest[-1] if rest else keys[0])
    notes = [f"{sample.file} has the columns {columns}", *notes]
    ending = f"{{id}}{sample.strip}" + ("_{class}" if sample.row_class else "")
    paths = [PurePosixPath(cell) for cell in sample.frame[keys[0]]]
    templates = {str(path.with_name(f"{{id}}{path.suffix}")) for path in paths if path.name}
    if ending == "{id}" and len(templates) == 1 and {path.stem for path in paths} <= set(test.stems):
        ending = templates.pop()
    if ending != "{id}":
        section["id_template"] = ending
    told = runs.class_column if runs is not None else None
    class_column = sample.class_column or (told if told in rest else None)
    if class_column or sample.row_class:
        section["rows"] = "image_class"
        if class_column:
            section["class_column"] = class_column
        if class_column != sample.class_column:
            section["sample"] = ""
            notes.append(f"{sample.file} has a row an image, an example: a row for every class is written")
    elif draft.sections["masks"].get("instances"):
        section |= {"rows": "instance", "overlap": False}
    elif draft.sections["masks"]["kind"] == "none":
        section["rows"] = "label"  # a class an image, no mask
    drawn = draft.sections["masks"]["kind"] in ("images", "polygons")
    for word, count in Counter(map(str.strip, sample.frame[section["mask_column"]])).most_common(1) if drawn else []:
        if EMPTY_WORD.fullmatch(word):
            section["dialect"] = {"empty": word}
            notes.append(f"an empty mask is {word!r}, as {count} of {len(sample.frame)} rows have it")
    named = {section["id_column"], section["mask_column"], class_column}
    if of_masks := [name for name in columns if name not in named and holds_runs(sample.frame[name])]:
        named |= {*of_masks}
        notes.append(f"columns {of_masks} hold masks too, and only {section['mask_column']} would be written")
    if extra := [name for name in columns if name not in named]:
        same = {name: "{number}" for name in extra if runs and name in runs.numbers}
        same |= {
            name: str(sample.frame[name].iloc[0])
            for name in extra
            if name not in same and sample.frame[name].nunique() == 1
        }
        section["extra"] = {name: same.get(name, f"{{{name}}}") for name in extra}
        notes.append(f"columns {extra} are filled as the sample fills them, or from fields of the image; correct them")
    draft.put("submission", section, *notes)
    if "rows" not in section:
        _leave_one_class(draft, sample)


def _leave_one_class(draft: Draft, sample: FoundTable) -> None:
    """The metric counts one class where the sample has a row an image, of which it does not say the class."""
    metric = draft.sections["metric"]
    scored = [name for name in metric.get("classes", draft.sections["classes"]) if name != "background"]
    if len(scored) > 1:
        metric["classes"] = scored[:1]
        draft.notes["metric"].append(
            f"guess: {sample.file} has a row an image and names no class, so {scored[0]} alone is answered; name "
            "another, or join the classes into the one that the host asks for"
        )


def _put_coco(draft: Draft, folder: Path, test: FileGroup) -> bool:
    """COCO's results, where a sample is such a list, or masks are COCO's and a document without any lists the test
    images; whether that is so.
    """
    documents = dict(_documents(folder))
    sample = next((file for file, one in documents.items() if SAMPLE.search(file) and _are_results(one)), None)
    described = [file for file, one in documents.items() if isinstance(one, dict) and one.get("images")]
    named = {file: _table_of_images(file, documents[file]["images"], test) for file in described}
    listed = next((file for file in described if named[file] and not documents[file].get("annotations")), None)
    listed = listed if sample or any(documents[file].get("annotations") for file in described) else None
    if sample is None and (listed is None or draft.sections["masks"]["kind"] != "polygons"):
        return False
    entries = documents[sample] if sample else []
    objects: dict[str, Any] = {}
    if listed is not None:
        others, notes = draft.sections.get("test_tables", []), draft.notes.get("test_tables", [])
        draft.put("test_tables", [*others, named[listed]], f"{listed} numbers the test images")
        draft.notes["test_tables"] += notes
        objects["image_id"] = "{coco_id}"
    elif (ids := [str(one["image_id"]) for one in entries]) and not set(ids) & set(test.stems):
        objects["image_id"] = "{id}" + PurePosixPath(ids[0]).suffix
    numbers = {str(one["name"]): one["id"] for file in described for one in documents[file].get("categories", [])}
    categories = {name: numbers[name] for name in draft.sections["classes"] if name in numbers}
    objects |= {"categories": categories} if categories else {}
    objects |= {"box": True} if any("bbox" in one for one in entries) else {}
    notes = [f"{sample} is a list of COCO's results" if sample else "masks and test images are given as COCO does"]
    if draft.sections["masks"]["kind"] == "polygons":
        draft.sections["masks"]["instances"] = True
        draft.notes["masks"] = [note for note in draft.notes["masks"] if "add `instances" not in note]
        notes.append("each object is an entry, so masks.instances keeps objects apart")
    draft.put("submission", {"kind": "coco", "coco": objects}, *notes)
    return True


def _documents(folder: Path) -> Iterator[tuple[str, Any]]:
    """JSON documents in the folder and one below it, by path; those of an image each are too many and left out."""
    paths = near_files(folder, 1, JSON)
    for path in paths if len(paths) <= MOST_DOCUMENTS else []:
        try:
            yield path.relative_to(folder).as_posix(), read_json(path)
        except (ValueError, OSError):
            continue


def _are_results(document: Any) -> bool:
    wanted = {"image_id", "category_id", "segmentation"}
    return isinstance(document, list) and all(isinstance(one, dict) and wanted <= one.keys() for one in document)


def _table_of_images(file: str, images: Any, test: FileGroup) -> dict[str, Any] | None:
    """A COCO document as a table whose ids are the test images; None where it names other ones."""
    if not all(isinstance(one, dict) and {"id", "file_name"} <= one.keys() for one in images):
        return None
    names = [str(one["file_name"]) for one in images]
    known = set(test.stems)
    if len(known & {PurePosixPath(name).stem for name in names}) < MOSTLY * len(known):
        return None
    folders, endings = (
        {str(PurePosixPath(name).parent) for name in names},
        {PurePosixPath(name).suffix for name in names},
    )
    if folders == {"."} and len(endings) == 1:
        return {"file": file, "id": "{file_name}", "strip": endings.pop()}
    depths = {name.count("/") for name in names}
    if len(depths) > 1:
        return None
    place = "".join(f"{{place{depth}}}/" for depth in range(depths.pop()))
    return {"file": file, "parts": {"file_name": f"{place}{{stem}}.{{ending}}"}, "id": "{stem}"}


def _put_plain_submission(draft: Draft, why: str, *notes: str) -> None:
    """Label volumes where the host gives such, else a table of ids and runs; no sample says what the host wants."""
    masks, classes = draft.sections["masks"], draft.sections["classes"]
    volumes = _label_volumes(draft)
    if volumes is not None:
        assumed = "a zip of label volumes, named and valued as those of training and on the grid of their images"
        ending = PurePosixPath(str(masks["path"])).suffix
        other = [f"NIfTI is written, and not {ending}: both say where voxels lie"] if ending in OF_ITK else []
        draft.put("submission", {"kind": "volumes", "files": volumes}, f"{why}; assumed: {assumed}", *other, *notes)
        return
    scored = draft.sections["metric"].get("classes", classes)
    ids = "{id}" + ("_{z}" if draft.sections["images"].get("kind") == "volumes" else "")
    section: dict[str, Any] = {"id_template": ids}
    if masks["kind"] == "none":
        section = {"rows": "label"}
    elif masks.get("instances"):
        section |= {"rows": "instance", "overlap": False}
    elif len(scored) > 1:
        section = {"rows": "image_class", "id_template": ids + "_{class}"}
    draft.put(
        "submission",
        section,
        f"{why}; assumed: a table of ids and runs, with empty cells for empty masks",
        *notes,
    )


def _label_volumes(draft: Draft) -> dict[str, Any] | None:
    """The files of an answer of label volumes like the masks of training; None where those are no such volumes.

    Values that stand for several classes, and a file an object, have no such answer. A file a class is one of 1, as
    NIfTI has it, or of 255.
    """
    masks, images = draft.sections["masks"], draft.sections["images"]
    path = str(masks.get("path", ""))
    ending = next((one for one in (".nii.gz", ".nii", ".tiff", ".tif") if path.endswith(one)), None)
    ending = ".nii.gz" if path.endswith(OF_ITK) else ending
    if images.get("kind") != "volumes" or ending is None or re.search(r"{object[:}]", path):
        return None
    if "{class}" in path:
        values = {} if ending.startswith(".tif") else {"values": dict.fromkeys(draft.sections["classes"], 1)}
        return {"path": f"{{id}}/{{class}}{ending}", **values}
    files: dict[str, Any] = {"path": f"{{id}}{ending}"}
    if masks.get("instances"):
        return {**files, "objects": True, "dtype": "uint16"}
    meaning: dict[Any, Any] = masks.get("values", {})
    if any((isinstance(names, list) and names) or not isinstance(value, int) for value, names in meaning.items()):
        return None
    named = {name: value for value, name in meaning.items() if name not in ([], "background", "void")}
    files |= {"values": named} if named else {}
    return files if max(named.values(), default=0) < 256 else {**files, "dtype": "uint16"}
