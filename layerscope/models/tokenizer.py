"""Load a tokenizer whose ids are exactly those of its ``tokenizer.json``, for every tokenizer class.

transformers builds a tokenizer from the class that a checkpoint names. That class may split, lower-case or normalise texts in
another way than ``tokenizer.json``. So the file is also read directly, and it defines the ids. A warning reports a class that
gives other ids.

Independent of models.
"""

import hashlib
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import transformers
from tokenizers import Tokenizer

from layerscope.errors import ModelError
from layerscope.models import tokenizer_trial
from layerscope.models.loader_errors import silence_loaders, translate_loader_errors
from layerscope.models.token_ids import describe_id_difference, encoder, file_encoder
from layerscope.models.tokenizer_trial import AWKWARD_TEXTS
from layerscope.panics import without_panic_text

__all__ = ["load_tokenizer"]

_FILE, _CONFIG = "tokenizer.json", "tokenizer_config.json"
_WITHOUT_CLASS = ("tekken.json", "tiktoken.model")  # the library finds them without a class
_OTHER_FILES = (*_WITHOUT_CLASS, "tokenizer.model", "spiece.model", "vocab.json", "merges.txt", "vocab.txt")
_PLAIN = ("PreTrainedTokenizerFast", "TokenizersBackend")  # classes that add nothing to tokenizer.json
_AGAIN = "fetch it again"
_TRIAL_SECONDS = 120
_SPECIAL_TEXTS = 256  # special tokens that are tried as texts, at most

_passed: set[str] = set()  # hashes of the files that have passed a trial in this process


def load_tokenizer(folder: Path | str, name: str, again: str | None, options: dict[str, Any]) -> Any:
    """Load the tokenizer of a checkpoint; its ids are those of ``tokenizer.json`` if the file exists.

    Parameters
    ----------
    folder
        A folder, or a hub id without its revision.
    name
        The name of the model, for messages.
    again
        The remedy for a damaged file, for messages. None means to fetch it again.
    options
        ``revision`` and ``trust_remote_code`` of transformers.

    Returns
    -------
    transformers.PreTrainedTokenizerBase
        A tokenizer of the class that the checkpoint names, if that class can be built; None for a checkpoint without any file of
        a tokenizer.

    Raises
    ------
    ModelError
        The tokenizer files are incomplete or cannot be read, or ``tokenizer.json`` exceeds the bounds of memory, time and growth.

    Warns
    -----
    UserWarning
        The class that the checkpoint names, or ``tokenizer_config.json``, differs from ``tokenizer.json``.
    """
    with translate_loader_errors(name, again), silence_loaders():
        path, config = (_file(folder, file, options["revision"]) for file in (_FILE, _CONFIG))
    if path is None:
        return _without_file(folder, name, again, options)
    _try_out(path, name, again)
    with translate_loader_errors(name, again), silence_loaders(), without_panic_text():
        written = Tokenizer.from_file(str(path))
        tokenizer, failed = _of_its_class(folder, _class_named(config), options)
    _say_differences(tokenizer, written, name, failed)
    _say_config(config, tokenizer, written, name, again)
    return _as_written(tokenizer, written, name)


def _file(folder: Path | str, file: str, revision: str) -> Path | None:
    """Return the local path of a file of a checkpoint, or None if the checkpoint lacks it."""
    if isinstance(folder, Path):
        return folder / file if (folder / file).exists() else None
    found = transformers.utils.cached_file(folder, file, revision=revision, _raise_exceptions_for_missing_entries=False)
    return found and Path(found)


def _without_file(folder: Path | str, name: str, again: str | None, options: dict[str, Any]) -> Any:
    """Load a tokenizer from the files of its class; all must exist, since some classes invent missing files."""

    def is_there(file: str) -> bool:
        return _file(folder, file, options["revision"]) is not None

    if not any(map(is_there, (_CONFIG, *_OTHER_FILES))):
        return None
    remedy = "fetch the tokenizer's files into the folder of the model"
    with translate_loader_errors(name, again), silence_loaders(), without_panic_text():
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **options)
        except Exception as error:
            if any(map(is_there, _OTHER_FILES)):
                raise
            raise ModelError(f"{name}: no tokenizer files, such as {_FILE}; {remedy}") from error
        needed = {file for file in tokenizer.vocab_files_names.values() if file != _FILE}
        of_a_class = tokenizer.vocab_files_names and not any(map(is_there, _WITHOUT_CLASS))
        made_up = of_a_class and not (needed and all(map(is_there, needed)))
    if made_up:
        files = " or ".join([_FILE, " and ".join(sorted(needed))][: 1 + bool(needed)])
        raise ModelError(f"{name}: no tokenizer files: {type(tokenizer).__name__} reads {files}; {remedy}")
    return tokenizer


def _try_out(path: Path, name: str, again: str | None) -> None:
    """Run the tokenizer in a separate process first; see `layerscope.models.tokenizer_trial`."""
    if not path.is_file():
        raise ModelError(f"{name}: {_FILE} is not a regular file; {again or _AGAIN}")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest in _passed:
        return
    command = [sys.executable, "-P", tokenizer_trial.__file__, str(path)]
    alone = os.environ | {"RAYON_NUM_THREADS": "1"}  # each thread of the library would reserve memory
    try:
        done = subprocess.run(
            command, capture_output=True, stdin=subprocess.DEVNULL, timeout=_TRIAL_SECONDS, text=True, env=alone
        )
        reason = done.stdout.strip() if done.returncode in (0, 1) else _bounds(path, -done.returncode)
    except subprocess.TimeoutExpired:
        reason = _bounds(path)
    if reason:
        raise ModelError(f"{name}: {_FILE} cannot be used: {reason}; {again or _AGAIN}")
    _passed.add(digest)


def _bounds(path: Path, signal: int | None = None) -> str:
    memory = tokenizer_trial.memory_limit(path.stat().st_size) / 2**30
    ended = f" (signal {signal})" if signal else ""
    return (
        f"the tokenizers library aborts on it, or takes more than {memory:.1f} GiB or {_TRIAL_SECONDS} seconds{ended}"
    )


def _class_named(config: Path | None) -> str | None:
    named = {} if config is None else json.loads(config.read_bytes())
    return named.get("tokenizer_class") if isinstance(named, dict) else None


def _of_its_class(folder: Path | str, named: str | None, options: dict[str, Any]) -> tuple[Any, str]:
    """Return the tokenizer of transformers and an empty string, or a plain tokenizer and the reason.

    If the checkpoint names the plain class, transformers may use that of the family instead; this function does not.
    """
    plain = transformers.PreTrainedTokenizerFast
    if named in _PLAIN:
        return plain.from_pretrained(folder, **options), ""
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, **options)
        if isinstance(tokenizer, plain):
            return tokenizer, ""
        failed = f"{type(tokenizer).__name__} does not read {_FILE}"
    except Exception as error:  # reported, and the file is read without the class
        failed = f"transformers cannot load it ({type(error).__name__}: {' '.join(str(error).split())[:160]})"
    return plain.from_pretrained(folder, **options), failed


def _say_differences(tokenizer: Any, written: Tokenizer, name: str, failed: str) -> None:
    said = failed
    if not said:
        special = [
            *tokenizer.all_special_tokens,
            *(token.content for token in written.get_added_tokens_decoder().values()),
        ]
        special = list(dict.fromkeys(special))[:_SPECIAL_TEXTS]
        texts = [*AWKWARD_TEXTS, *special, *(f"a{token} b" for token in special)]
        difference = describe_id_difference(encoder(tokenizer), file_encoder(written), texts)
        said = difference and f"{type(tokenizer).__name__} of transformers gives other ids than {_FILE} {difference}"
    if said:
        warnings.warn(f"{name}: {said}; {_FILE} is used", stacklevel=5)


def _say_config(path: Path | None, tokenizer: Any, written: Tokenizer, name: str, again: str | None) -> None:
    """Warn if ``tokenizer_config.json`` and ``tokenizer.json`` disagree on a token at the start or end of every text."""
    if path is None:
        return
    with translate_loader_errors(name, again):
        asked = json.loads(path.read_bytes())
    ids = file_encoder(written)("a") or []
    for key, token, at in (("add_bos_token", tokenizer.bos_token_id, 0), ("add_eos_token", tokenizer.eos_token_id, -1)):
        wanted = asked.get(key)
        if isinstance(wanted, bool) and token is not None and ids and (ids[at] == token) != wanted:
            does = "does not" if wanted else "does"
            warnings.warn(
                f"{name}: {_CONFIG} has {key} {str(wanted).lower()}, but {_FILE} {does} add that token; {_FILE} is used",
                stacklevel=5,
            )


def _as_written(tokenizer: Any, written: Tokenizer, name: str) -> Any:
    """Make the tokenizer give the ids of `written` for every text."""
    tokenizer._tokenizer = written
    tokenizer.split_special_tokens = False
    for role, token in tokenizer.special_tokens_map.items():  # drop special tokens that only the class has
        if isinstance(token, str) and written.token_to_id(token) is None:
            setattr(tokenizer, role, None)
    known = [token for token in tokenizer.extra_special_tokens if written.token_to_id(str(token)) is not None]
    tokenizer.extra_special_tokens = known
    difference = describe_id_difference(encoder(tokenizer), file_encoder(written), AWKWARD_TEXTS)
    if difference:
        raise ModelError(
            f"{name}: {type(tokenizer).__name__} gives other ids than its {_FILE} {difference}, and cannot be made to give these"
        )
    return tokenizer
