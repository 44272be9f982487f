"""What can go wrong, as one tree of exceptions.

Each error is one lower-case sentence that names the value in question, a hint that says what
to do, and the exit code that the command line gives (125 unless said, as Docker has it)::

    UserspaceError                 125
    ├── UsageError                 the command line or a value in it
    ├── SettingsError              the configuration file or an environment variable
    ├── InvalidReference           an image name that cannot be one
    ├── ImageError                 an image that cannot be had or cannot be used
    │   ├── ImageNotFound          nobody has it
    │   ├── Offline                the network would be needed, and must not be touched
    │   ├── RegistryError          a registry did not answer, or answered wrongly
    │   │   └── AuthenticationError    401 and 403
    │   ├── ContentMismatch        bytes that are not what their digest or size says
    │   └── LayerError             a layer that is damaged, hostile or not a tar
    ├── ContainerNotFound          no container has that name or id
    ├── StoreError                 the store cannot be read, written or is of another format
    ├── EngineError                the chosen engine cannot run here
    │   └── PromiseUnmet           asked for something that the engine cannot promise
    ├── LimitReached               124 for time, as timeout(1) has it; 137 for memory, as Docker
    ├── DockerfileError            1: a Dockerfile that is none, or a step of it that failed
    ├── CommandNotFound            127
    └── CommandNotExecutable       126
"""

from __future__ import annotations


class UserspaceError(Exception):
    """The root of the tree: ``message`` says what is wrong, ``hint`` what to do about it."""

    exit_code = 125

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class UsageError(UserspaceError):
    """A word, option or value on the command line that has no meaning."""


class SettingsError(UserspaceError):
    """A setting that has no meaning, or a configuration file that cannot be read."""


class InvalidReference(UserspaceError):
    """Text that is not an image name by the rules of the distribution project."""


class ImageError(UserspaceError):
    """An image that cannot be had or cannot be used."""


class ImageNotFound(ImageError):
    """No store, mirror or registry has the image."""


class Offline(ImageError):
    """Only the network could have it, and the user wants the network left alone."""


class RegistryError(ImageError):
    """A registry did not answer, or its answer has no meaning."""


class AuthenticationError(RegistryError):
    """A registry refused who we are (401) or what we may do (403)."""


class ContentMismatch(ImageError):
    """Bytes whose digest or length is not the one that the image states."""


class LayerError(ImageError):
    """A layer that is damaged, hostile or not a tar."""


class ContainerNotFound(UserspaceError):
    """No container that was created has the name or id; 1, as Docker has it."""

    exit_code = 1


class StoreError(UserspaceError):
    """The store cannot be read or written, is full, or is of another format."""


class EngineError(UserspaceError):
    """The chosen engine cannot run on this host."""


class PromiseUnmet(EngineError):
    """Something was asked for that the engine cannot promise on this host."""


class LimitReached(UserspaceError):
    """The container was ended because it took more than it was given."""

    def __init__(self, message: str, hint: str, exit_code: int) -> None:
        super().__init__(message, hint)
        self.exit_code = exit_code


class DockerfileError(UserspaceError):
    """A Dockerfile that has no meaning, or a step of it that failed."""

    exit_code = 1


class CommandNotFound(UserspaceError):
    """The program is not in the image."""

    exit_code = 127


class CommandNotExecutable(UserspaceError):
    """The program is in the image, but cannot be executed."""

    exit_code = 126
