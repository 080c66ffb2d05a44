"""Uploading against a made-up host: once, whatever happens, and a sentence for everything that goes wrong."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from submissions.kaggle.client import KaggleClient, connect
from submissions.kaggle.upload import (
    Kernel,
    LostError,
    Patience,
    RefusedError,
    State,
    Submitted,
    UploadError,
    file_hash,
    submit_code,
    submit_csv,
)


class Host:
    """A host in memory. `plan`: the fate of each sending: 'ok', 'lost' (arrived, no answer), 'dropped', or a
    refusal's text. Scores come with the third look at the list."""

    def __init__(self, plan: list[str] | None = None, **change: Any) -> None:
        self.plan, self.entries, self.log = plan or [], [], []  # type: ignore[var-annotated]
        self.final = Submitted("7", "", "complete", 0.81, None)
        self.looks, self.ready_after, self.kernel_states = 0, 1, ["pending", "complete"]
        self.list_fails: list[str] = []
        for name, value in change.items():
            setattr(self, name, value)

    def _send(self, message: str) -> None:
        fate = self.plan.pop(0) if self.plan else "ok"
        self.log.append(("send", fate))
        if fate in ("ok", "lost"):
            self.entries.insert(0, Submitted("7", message))
        if fate in ("lost", "dropped"):
            raise LostError("timed out")
        if fate != "ok":
            raise RefusedError(fate)

    def submissions(self, competition: str) -> list[Submitted]:
        fate = self.list_fails.pop(0) if self.list_fails else ""
        if fate:
            raise (LostError if fate == "lost" else RefusedError)(fate)
        self.looks += 1
        if self.looks >= 3:
            self.entries = [replace(self.final, description=item.description) for item in self.entries]
        return list(self.entries)

    def submit_file(self, competition: str, path: Path, message: str) -> None:
        self._send(message)

    def create_dataset_version(self, folder: Path, notes: str) -> str:
        self.log.append(("dataset", folder.name))
        return "me/weights"

    def dataset_ready(self, dataset: str) -> bool:
        self.ready_after -= 1
        return self.ready_after < 0

    def push_kernel(self, folder: Path) -> Kernel:
        self.log.append(("push", folder.name))
        return Kernel("me/notebook", 4)

    def kernel_state(self, kernel: Kernel) -> tuple[State, str]:
        state: Any = self.kernel_states.pop(0)
        if state == "lost":
            raise LostError("timed out")
        if state == "refused":
            raise RefusedError("404 not found")
        return state, "out of memory" if state == "error" else ""

    def submit_kernel(self, competition: str, kernel: Kernel, file_name: str, message: str) -> None:
        self.log.append(("kernel", kernel.version))
        self._send(message)


def patience(**change: float) -> Patience:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    return replace(Patience(sleep=sleep, clock=lambda: now[0]), **change)  # type: ignore[arg-type]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "submission.csv"
    path.write_text("id,rle\na,1 2\n")
    return path


def submit(host: Host, file: Path, **change: float) -> Submitted:
    return submit_csv(host, "salt", file, "first try", patience=patience(**change), report=lambda text: None)


def sends(host: Host) -> list[str]:
    return [fate for kind, fate in host.log if kind == "send"]


def test_a_file_is_submitted_and_its_score_waited_for(file: Path) -> None:
    host = Host()
    found = submit(host, file)
    assert found.public == 0.81 and found.state == "complete"
    assert found.description == f"first try [{file_hash(file)}]"
    assert sends(host) == ["ok"]


def test_the_same_file_is_never_sent_twice(file: Path) -> None:
    host = Host()
    submit(host, file)
    again = submit(host, file)
    assert again.public == 0.81 and sends(host) == ["ok"]
    file.write_text("id,rle\na,1 3\n")
    submit(host, file)
    assert sends(host) == ["ok", "ok"]


@pytest.mark.parametrize(("plan", "sent"), [(["lost"], 1), (["dropped", "ok"], 2), (["dropped", "lost"], 2)])
def test_a_lost_answer_is_looked_up_before_it_is_sent_again(file: Path, plan: list[str], sent: int) -> None:
    host = Host(plan)
    assert submit(host, file).public == 0.81
    assert len(sends(host)) == sent and len(host.entries) == 1


def test_lost_every_time(file: Path) -> None:
    host = Host(["dropped"] * 3)
    with pytest.raises(UploadError, match="no answer in 3 attempts"):
        submit(host, file)
    assert len(sends(host)) == 3 and not host.entries


def test_nothing_is_sent_where_the_list_cannot_be_read(file: Path) -> None:
    host = Host(list_fails=["lost"])
    with pytest.raises(UploadError, match="nothing is sent without knowing"):
        submit(host, file)
    assert sends(host) == []
    host = Host(["lost"], list_fails=["", "lost"])
    with pytest.raises(UploadError, match="nothing is sent without knowing"):
        submit(host, file)
    assert sends(host) == ["lost"]
    assert submit(Host(list_fails=["", "lost"]), file).public == 0.81  # while waiting, a lost look is no matter


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        ("400 your team has used its daily Submission allowance (5)", "after the reset"),
        ("403 You must accept this competition's rules", "Accept the competition's rules"),
        ("404 Not Found", "the competition's name in its address"),
        ("400 the file has the wrong columns", "compare it with the sample"),
    ],
)
def test_a_no_comes_with_what_to_do(file: Path, reason: str, advice: str) -> None:
    host = Host([reason])
    with pytest.raises(UploadError, match="host") as caught:
        submit(host, file)
    assert reason in str(caught.value) and advice in str(caught.value)
    assert len(sends(host)) == 1
    with pytest.raises(UploadError, match="host"):
        submit(Host(list_fails=[reason]), file)


def test_a_rejected_file(file: Path) -> None:
    host = Host(final=Submitted("7", "", "error", None, None, "Evaluation exception: negative length"))
    with pytest.raises(UploadError, match=r"rejected submission 7: Evaluation exception.*lint"):
        submit(host, file)


def test_a_timeout_says_that_nothing_is_sent_again(file: Path) -> None:
    host = Host(final=Submitted("7", "", "pending"))
    with pytest.raises(UploadError, match=r"the score: not ready after 2 minutes.*not submitted again"):
        submit(host, file, timeout=120.0)


def test_a_missing_or_oversized_file(file: Path) -> None:
    with pytest.raises(FileNotFoundError, match="stage 07"):
        submit(Host(), file.with_name("none.csv"))
    with pytest.raises(UploadError, match="a folder, the host takes one file; write pack: zip"):
        submit(Host(), file.parent)
    with pytest.raises(UploadError, match="at most 3"):
        submit_csv(Host(), "salt", file, "x", max_bytes=3)


@pytest.fixture
def bundle(tmp_path: Path) -> tuple[Path, Path]:
    folders = tmp_path / "dataset", tmp_path / "kernel"
    for folder, name in zip(folders, ("dataset-metadata.json", "kernel-metadata.json"), strict=True):
        (folder / "sub").mkdir(parents=True)
        (folder / "sub" / "weights.bin").write_bytes(b"123")
        (folder / name).write_text(json.dumps({"id": f"me/{folder.name}"}))
    return folders


def code(host: Host, bundle: tuple[Path, Path], **change: float) -> Submitted:
    return submit_code(host, "organs", *bundle, "notebook", patience=patience(**change), report=lambda text: None)


def test_a_notebook_is_submitted_step_by_step_and_once(bundle: tuple[Path, Path]) -> None:
    host = Host(kernel_states=["lost", "pending", "complete"])
    assert code(host, bundle).public == 0.81
    steps = [("dataset", "dataset"), ("push", "kernel"), ("kernel", 4), ("send", "ok")]
    assert host.log == steps
    assert code(host, bundle).public == 0.81
    assert host.log == steps
    (bundle[0] / "sub" / "weights.bin").write_bytes(b"124")
    host.kernel_states = ["complete"]
    code(host, bundle)
    assert len(host.log) == 8


def test_a_notebook_that_fails_is_not_submitted(bundle: tuple[Path, Path]) -> None:
    host = Host(kernel_states=["error"])
    with pytest.raises(UploadError, match="version 4 failed: out of memory"):
        code(host, bundle)
    assert sends(host) == []
    with pytest.raises(UploadError, match="the notebook: no answer in 3 attempts"):
        code(Host(kernel_states=["lost"] * 3), bundle)
    with pytest.raises(UploadError, match="the notebook: the host does not know it"):
        code(Host(kernel_states=["refused"]), bundle)
    with pytest.raises(UploadError, match=r"dataset me/weights: not ready after 1 minutes. Nothing was submitted"):
        code(Host(ready_after=99), bundle, timeout=60.0)
    with pytest.raises(UploadError, match=r"notebook me/notebook: not ready after 1 minutes. Nothing .* --timeout"):
        code(Host(kernel_states=["pending"] * 9), bundle, timeout=60.0)
    (bundle[1] / "kernel-metadata.json").unlink()
    with pytest.raises(FileNotFoundError, match="kaggle kernels init -p"):
        code(Host(), bundle)


def test_a_data_set_that_is_not_there_yet_is_to_be_made_once(
    bundle: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no(*asked: object) -> Any:
        raise RefusedError("404 Not Found")

    host = Host()
    monkeypatch.setattr(host, "create_dataset_version", no)
    with pytest.raises(UploadError, match=r"the dataset: the host refused: 404.*datasets create -p .*--dir-mode zip"):
        code(host, bundle)
    host = Host()
    monkeypatch.setattr(host, "push_kernel", no)
    with pytest.raises(UploadError, match=r"the notebook: the host refused: 404.*kernel-metadata.json"):
        code(host, bundle)


def test_the_hash_is_of_names_and_bytes(tmp_path: Path, file: Path) -> None:
    copy = tmp_path / "copy.csv"
    copy.write_bytes(file.read_bytes())
    assert file_hash(file) == file_hash(copy) and len(file_hash(file)) == 16
    one, two = tmp_path / "one", tmp_path / "two"
    for folder, name in ((one, "a"), (two, "b")):
        folder.mkdir()
        (folder / name).write_bytes(b"x")
    assert file_hash(one) != file_hash(two)


def fake_package(monkeypatch: pytest.MonkeyPatch, api: Callable[[], Any]) -> None:
    module = ModuleType("kaggle.api.kaggle_api_extended")
    module.KaggleApi = api  # type: ignore[attr-defined]
    for name in ("kaggle", "kaggle.api"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, "kaggle.api.kaggle_api_extended", module)


def test_a_missing_package_and_missing_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kaggle", None)
    with pytest.raises(UploadError, match="pip install kaggle"):
        connect()

    def leave() -> None:
        raise SystemExit(1)

    fake_package(monkeypatch, lambda: SimpleNamespace(authenticate=leave))
    with pytest.raises(UploadError, match="make a token on your account's settings page"):
        connect()
    api = SimpleNamespace(authenticate=lambda: None)
    fake_package(monkeypatch, lambda: api)
    assert connect().api is api


def test_versions_that_sign_in_as_they_are_imported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "kaggle").mkdir()
    (tmp_path / "kaggle" / "__init__.py").write_text("raise OSError('Could not find kaggle.json')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "kaggle", raising=False)
    with pytest.raises(UploadError, match="finds no credentials"):
        connect()


class Api:
    """The package's methods that are used, with its kinds of answers."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.answers: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*positional: Any, **named: Any) -> Any:
            self.calls.append((name, *positional, named))
            answer = self.answers.get(name)
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call


class HTTPError(OSError):
    """As of the package's HTTP library: an OSError with a response."""

    def __init__(self, code: int, body: Any) -> None:
        super().__init__(f"{code} Client Error")
        self.response = SimpleNamespace(status_code=code, json=lambda: body)


def entry(**change: Any) -> SimpleNamespace:
    plain = {"ref": 12, "description": "x [ab]", "status": "SubmissionStatus.COMPLETE", "public_score": "0.5"}
    return SimpleNamespace(**{**plain, "private_score": "", "error_description": None, **change})


def test_the_package_s_answers_are_read() -> None:
    api = Api()
    status = SimpleNamespace(name="ERROR")
    api.answers["competition_submissions"] = [entry(), None, entry(status=status, error_description="bad")]
    first, second = KaggleClient(api).submissions("salt")
    assert first == Submitted("12", "x [ab]", "complete", 0.5, None, "")
    assert (second.state, second.error) == ("error", "bad")
    api.answers["competition_submissions"] = [entry(status="pending", public_score="nan")]
    assert KaggleClient(api).submissions("salt")[0] == Submitted("12", "x [ab]", "pending")


def test_the_package_s_methods_are_called(bundle: tuple[Path, Path], file: Path) -> None:
    api = Api()
    client = KaggleClient(api)
    client.submit_file("salt", file, "text")
    client.submit_kernel("salt", Kernel("me/book", 3), "submission.csv", "text")
    assert api.calls[0] == ("competition_submit", str(file), "text", "salt", {"quiet": True})
    named = {"kernel": "me/book", "kernel_version": 3, "quiet": True}
    assert api.calls[1] == ("competition_submit_code", "submission.csv", "text", "salt", named)
    assert client.create_dataset_version(bundle[0], "notes") == "me/dataset"
    api.answers |= {"dataset_status": "ready", "kernels_push": SimpleNamespace(error="", version_number="5")}
    assert client.dataset_ready("me/dataset")
    assert client.push_kernel(bundle[1]) == Kernel("me/kernel", 5)
    for name, state in (("COMPLETE", "complete"), ("RUNNING", "pending"), ("CANCEL_ACKNOWLEDGED", "error")):
        answer = SimpleNamespace(status=SimpleNamespace(name=name), failure_message=None)
        api.answers["kernels_status"] = answer
        assert client.kernel_state(Kernel("me/book", 3)) == (state, "")
    assert api.calls[-1][1] == "me/book/3"


def test_the_package_s_errors_are_of_two_kinds(bundle: tuple[Path, Path], file: Path) -> None:
    api = Api()
    client = KaggleClient(api)
    for error in (HTTPError(503, {}), HTTPError(429, {}), ConnectionError("reset")):
        api.answers["competition_submit"] = error
        with pytest.raises(LostError):
            client.submit_file("salt", file, "x")
    api.answers["competition_submit"] = SimpleNamespace(message="Could not submit to competition")
    with pytest.raises(LostError, match="could not be uploaded"):
        client.submit_file("salt", file, "x")
    for refusal in (HTTPError(400, {"message": "daily limit"}), HTTPError(400, []), ValueError("no file")):
        api.answers["competition_submit"] = refusal
        with pytest.raises(RefusedError, match=r"daily limit|400 Client Error|no file"):
            client.submit_file("salt", file, "x")
    api.answers["dataset_create_version"] = SimpleNamespace(error="title taken")
    with pytest.raises(RefusedError, match="title taken"):
        client.create_dataset_version(bundle[0], "x")
    api.answers["dataset_status"] = "error"
    with pytest.raises(RefusedError, match="dataset me/d: error"):
        client.dataset_ready("me/d")
    api.answers["kernels_push"] = SimpleNamespace(error=None, invalid_dataset_sources=["me/d"], version_number=1)
    with pytest.raises(RefusedError, match="invalid dataset sources"):
        client.push_kernel(bundle[1])
    (bundle[0] / "dataset-metadata.json").write_text('{"id": "nobody"}')
    api.answers["dataset_create_version"] = SimpleNamespace(error=None)
    with pytest.raises(UploadError, match="expected 'owner/name'"):
        client.create_dataset_version(bundle[0], "x")
