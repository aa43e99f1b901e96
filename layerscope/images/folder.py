"""A folder of images: which files are images, the facts that identify each, and its picture."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from layerscope.errors import TextsError, UsageError, at_least
from layerscope.texts.text import Text, check_encodable

__all__ = ["FACTS", "ImageFile", "ImageFolder"]

FACTS = ("image_width", "image_height", "image_hash")
"""What a capture keeps of each image: its size in pixels as stored, and the start of the SHA-256 of its file."""

_HASH_DIGITS = 16
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "HSV")  # 8 bits a channel, or fewer


class ImageFile(NamedTuple):
    """An image of a folder.

    Attributes
    ----------
    name
        The name of its file.
    facts
        The values of `FACTS`.
    """

    name: str
    facts: dict[str, str | int]


class ImageFolder:
    """The images of a folder, in the order of their names. Subfolders, hidden files and files of other kinds are left out.

    Parameters
    ----------
    path
        The folder.
    limit
        Maximum number of images.

    Attributes
    ----------
    name
        The folder as given.
    skipped
        Number of files that are no images by their extension.

    Raises
    ------
    UsageError
        Pillow is not installed, or the limit is below 1.
    TextsError
        There is no such folder, or no image in it.
    """

    def __init__(self, path: str | os.PathLike[str], limit: int | None = None) -> None:
        at_least(1, limit=limit, remedy="leave it out to take every image")
        self.name = os.fspath(path)
        self._folder = Path(path)
        files = self._visible_files()
        known = _pillow().Image.registered_extensions()
        images = [name for name in files if Path(name).suffix.lower() in known]
        if not images:
            found = f"{len(files)} other files" if files else "it has no file; subfolders are not read"
            raise TextsError(
                f"{self.name}: no image in this folder ({found}): give a folder of .png, .jpg or other images"
            )
        self.skipped = len(files) - len(images)
        self._images = images[:limit]

    def _visible_files(self) -> list[str]:
        if not self._folder.is_dir():
            what = "a file, not a folder" if self._folder.exists() else "there is no such folder"
            raise TextsError(f"{self.name}: {what}: --images takes a folder of image files")
        try:
            return sorted(one.name for one in self._folder.iterdir() if one.is_file() and not one.name.startswith("."))
        except OSError as error:
            raise TextsError(f"{self.name}: the folder cannot be read: {error.strerror}") from error

    def __len__(self) -> int:
        return len(self._images)

    def __iter__(self) -> Iterator[ImageFile]:
        """Yield each image, with its header checked.

        Raises
        ------
        TextsError
            A file is empty or no image, or its name is not UTF-8.
        """
        for name in self._images:
            path = self._folder / name
            check_encodable(Text(name, ""), self.name)
            with self._readable(name):
                content = path.read_bytes()
                if not content:
                    raise TextsError(f"{path}: an empty file, not an image: remove it or replace it")
                with _pillow().Image.open(path) as image:
                    width, height = image.size
                    image.verify()
            digest = hashlib.sha256(content).hexdigest()[:_HASH_DIGITS]
            yield ImageFile(name, dict(zip(FACTS, (width, height, digest), strict=True)))

    def picture(self, name: str, channels: int) -> Any:
        """Return an image as a picture of Pillow, turned by the orientation that its camera stored.

        Parameters
        ----------
        name
            The name of its file.
        channels
            1 for shades of grey, 3 for colours.

        Raises
        ------
        TextsError
            The file is damaged or gone, or has more than 8 bits a channel.
        """
        pillow = _pillow()
        with self._readable(name), pillow.Image.open(self._folder / name) as image:
            if image.mode not in _MODES:
                raise TextsError(
                    f"{self._folder / name}: its pixels have more than 8 bits a channel ({image.mode}): convert it to 8 bits"
                )
            return pillow.ImageOps.exif_transpose(image).convert("L" if channels == 1 else "RGB")

    @contextmanager
    def _readable(self, name: str) -> Iterator[None]:
        try:
            yield
        except TextsError:
            raise
        except Exception as error:  # the readers of Pillow share no class of errors
            reason = " ".join(str(error).split())[:160] or type(error).__name__
            raise TextsError(
                f"{self._folder / name}: not a readable image ({reason}): remove it or replace it"
            ) from error


def _pillow() -> Any:
    try:
        import PIL
        import PIL.Image
        import PIL.ImageOps
    except ImportError as error:
        raise UsageError("--images needs Pillow, which is not installed: pip install pillow") from error
    return PIL
