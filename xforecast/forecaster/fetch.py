"""Get a published checkpoint, convert it to safetensors and keep it; no code in it is ever run."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from xforecast.cf import cache_folder, download
from xforecast.errors import CheckpointError, DataFileError, UnknownForecaster
from xforecast.forecaster.folder import CONFIG_FILE, write
from xforecast.forecaster.published import PUBLISHED, Published
from xforecast.models import compat

__all__ = ["dead_links", "fetch", "fetched_folder", "file_name", "is_fetched"]


def fetched_folder(name: str) -> Path:
    """Where a published forecaster is kept once it is fetched."""
    return cache_folder() / "forecasters" / name


def is_fetched(name: str) -> bool:
    """Whether a published forecaster is at hand."""
    return (fetched_folder(name) / CONFIG_FILE).exists()


def fetch(
    name: str,
    source: str | os.PathLike | Sequence[str | os.PathLike] | None = None,
    say: Callable[[str], None] = print,
) -> Path:
    """Get a published checkpoint, convert it to safetensors and keep it in the cache.

    Parameters
    ----------
    name : str
        A published name of `list_models`.
    source : path, address or sequence of them, optional
        The published files, if they are at hand already: their folder, or each of them; or other addresses to
        download them from. Files of other names are taken in the order in which they were published. Left out, they
        are downloaded from where they were published.
    say : callable
        Told the digests and the folder.

    Returns
    -------
    pathlib.Path
        The folder of the converted forecaster.

    Raises
    ------
    CheckpointError
        A download fails, a file is missing or not what it was when it was first fetched, or it does not fit.
    """
    if name not in PUBLISHED:
        raise UnknownForecaster(f"found {name!r}, wanted one of {', '.join(PUBLISHED)}\n  -> xforecast models")
    entry, folder = PUBLISHED[name], fetched_folder(name)
    digests, states = {}, {}
    with tempfile.TemporaryDirectory() as scratch:
        for kind, place in _places(name, entry, source).items():
            file = _download(place, Path(scratch) / f"{kind}.pt") if _is_address(place) else Path(place)
            digests[kind] = _digest(file)
            _compare_digest(_key(name, kind), digests[kind])
            states[kind] = _read_official(file)
            say(f"sha256 {digests[kind]}")
    for kind in (kind for kind in entry.files if kind not in states):
        say(f"without {file_name(entry.files[kind])}")
    model = _assembled(entry, states)
    card = {key: getattr(entry, key) for key in ("title", "period", "licence", "references")}
    one = len(entry.files) == 1
    card |= {"name": name, "origin": ", ".join(entry.files[kind] for kind in states)}
    card |= {"origin_sha256": next(iter(digests.values())) if one else digests}
    write(folder, model, entry.spec(), card)
    for kind, digest in digests.items():
        _remember_digest(_key(name, kind), digest)
    say(f"kept in {folder}")
    return folder


def _assembled(entry: Published, states: Mapping[str, Mapping[str, torch.Tensor]]) -> torch.nn.Module:
    if "prediff-unet" in entry.files:
        return compat.prediff_from_official(entry.config(), states)
    ((kind, state),) = states.items()
    return compat.from_official_config(kind, entry.config(), state)


def dead_links(entry: Published) -> list[str]:
    """Files that cannot be downloaded any more."""
    return [place for place in entry.files.values() if not _is_address(place)]


def _places(name: str, entry: Published, source: Any) -> dict[str, str]:
    """Where each file of a published forecaster is, by kind: paths and addresses."""
    names = {kind: file_name(place) for kind, place in entry.files.items()}
    wanted = [kind for kind in names if kind not in entry.optional]
    if source is None:
        if dead := dead_links(entry):
            raise CheckpointError(
                f"{name!r} cannot be downloaded: the published links have died\n"
                f"  -> get {', '.join(dead)} another way and name their folder, the files or other addresses:\n"
                f"     xforecast models fetch {name} --from FOLDER"
            )
        return dict(entry.files)
    given = [os.fspath(source)] if isinstance(source, str | os.PathLike) else [os.fspath(one) for one in source]
    if len(given) == 1 and Path(given[0]).is_dir():
        given = [str(Path(given[0]) / file) for file in names.values() if (Path(given[0]) / file).exists()]
    found = {kind: place for kind, file in names.items() for place in given if file_name(place) == file}
    if not found and len(wanted) <= len(given) <= len(names):
        found = dict(zip(names, given, strict=False))
    if missing := [names[kind] for kind in wanted if kind not in found]:
        raise CheckpointError(
            f"{name}: found {', '.join(map(file_name, given)) or 'no such file'}, wanted {', '.join(missing)} too\n"
            "  -> name the folder that has all, or each file"
        )
    if len(found) < len(given):
        raise CheckpointError(
            f"{name}: found {len(given)} files, wanted {' and '.join(names.values())}\n  -> name these files only"
        )
    return found


def _is_address(place: str) -> bool:
    return place.startswith(("https://", "http://"))


def file_name(place: str) -> str:
    return place.rstrip("/").rpartition("/")[2]


def _key(name: str, kind: str) -> str:
    """The key of a file in the book of digests."""
    return name if len(PUBLISHED[name].files) == 1 else f"{name}/{kind}"


def _download(url: str, target: Path) -> Path:
    try:
        return download(url, target, purpose="fetching a published checkpoint")
    except DataFileError as error:
        found = str(error).partition("\n")[0]
        raise CheckpointError(f"{found}\n  -> get the file another way and name it with --from FILE") from error


def _digest(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise CheckpointError(f"cannot read {file}: {error}\n  -> check the path") from error


def _digests() -> tuple[Path, dict[str, str]]:
    """Where the digests of fetched files are kept, and what they are."""
    book = cache_folder() / "digests.json"
    try:
        return book, json.loads(book.read_text()) if book.exists() else {}
    except ValueError as error:
        raise CheckpointError(f"{book} is damaged: {error}\n  -> remove it and fetch again") from error


def _compare_digest(name: str, digest: str) -> None:
    """The digest of a file that was good once is the one to be seen again."""
    book, known = _digests()
    if known.get(name, digest) != digest:
        raise CheckpointError(
            f"{name}: found sha256 {digest}, wanted {known[name]} as when it was first fetched\n"
            f"  -> ask who changed it; to trust the new file, remove the entry from {book}"
        )


def _remember_digest(name: str, digest: str) -> None:
    book, known = _digests()
    book.parent.mkdir(parents=True, exist_ok=True)
    book.write_text(json.dumps({**known, name: digest}, indent=1) + "\n")


def _read_official(file: Path) -> dict[str, torch.Tensor]:
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types for a file that is not a checkpoint
        # The words of torch would advise to run the code in the file.
        raise CheckpointError(
            f"{file}: found something else ({type(error).__name__}), wanted a file of weights alone; nothing in it was "
            "run\n  -> check that it is the published file, and complete"
        ) from error
    inner = state.get("state_dict", state) if isinstance(state, dict) else None
    if not isinstance(inner, dict) or not all(isinstance(value, torch.Tensor) for value in inner.values()):
        raise CheckpointError(f"{file}: found {type(state).__name__}, wanted tensors by name\n  -> another file")
    return {str(key).removeprefix("torch_nn_module."): value for key, value in inner.items()}
