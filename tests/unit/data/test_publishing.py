"""Putting data on the Hub: every request is answered here, and what was sent is read back."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import huggingface_hub
import pytest
import yaml
from huggingface_hub.utils import _http as hub_http

from profactory.data.prepare import prepare_dataset
from profactory.data.publishing import publish
from profactory.errors import ConfigError, DataError, RowError

TABLE = "id,sequence,label,split\n" + "".join(
    f"p{i},MK{'ACDEFGHIKL'[i]},{'+-'[i % 2]},{'train' if i < 7 else 'test'}\n" for i in range(10)
)


class Hub:
    """What the Hub would keep."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.exists = False

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        self.asked.append(path)
        assert request.headers["authorization"] == "Bearer hf_secret"
        if path == "/api/repos/create":
            status = 409 if self.exists else 200
            self.exists = True
            return httpx.Response(
                status, json={"url": "https://huggingface.co/datasets/me/proteins"}, request=request
            )
        if "/preupload/" in path:
            names = [file["path"] for file in json.loads(request.content)["files"]]
            modes = [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]
            return httpx.Response(200, json={"files": modes}, request=request)
        if "/commit/" in path:
            for line in request.content.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    self.files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
            answer = {
                "commitOid": "0" * 40,
                "commitUrl": "https://huggingface.co/datasets/me/proteins/commit/" + "0" * 40,
            }
            return httpx.Response(200, json=answer, request=request)
        return httpx.Response(200, json={"sha": "0" * 40, "id": "me/proteins"}, request=request)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    before, served = hub_http._GLOBAL_CLIENT_FACTORY, Hub()
    huggingface_hub.set_client_factory(lambda: httpx.Client(transport=httpx.MockTransport(served)))
    yield served
    huggingface_hub.set_client_factory(before)


def test_what_was_pushed_reads_back_the_same(hub: Hub, tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text(TABLE)
    done = publish(source, "me/proteins")
    assert done.rows == {"train": 7, "test": 3}
    assert sorted(hub.files) == ["README.md", "test.parquet", "train.parquet"]
    copy = tmp_path / "copy"
    copy.mkdir()
    for name, content in hub.files.items():
        (copy / name).write_bytes(content)
    again, original = prepare_dataset(copy), prepare_dataset(source)
    assert again.counts["splits"] == original.counts["splits"]
    assert again.dataset.table.to_pydict() == original.dataset.table.to_pydict()
    card = hub.files["README.md"].decode()
    head = yaml.safe_load(card.split("---")[1])
    assert head["configs"][0]["data_files"][0] == {"split": "train", "path": "train.parquet"}
    assert original.dataset.content_hash in card
    assert "hf_secret" not in card


def test_nothing_is_overwritten_unasked(hub: Hub, tmp_path: Path) -> None:
    source = tmp_path / "in.csv"
    source.write_text(TABLE)
    hub.exists = True
    with pytest.raises(DataError, match="exists already"):
        publish(source, "me/proteins")
    assert not hub.files
    assert publish(source, "me/proteins", overwrite=True).rows


def test_refused_before_anything_is_sent(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "in.csv"
    source.write_text(TABLE + "p10,MK1,+,train\n")
    with pytest.raises(RowError):
        publish(source, "me/proteins")
    with pytest.raises(ConfigError, match="no name of a data set"):
        publish(source, "proteins")
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="Nobody is logged in"):
        publish(source, "me/proteins")
    assert hub.asked == []
