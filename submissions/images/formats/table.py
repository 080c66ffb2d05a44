"""Which module reads which file: the one table of formats, and how a file is told by its first bytes."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from importlib import import_module, util
from pathlib import Path

from submissions.images.damaged import naming
from submissions.images.readers import FileReader
from submissions.images.reading import AS_STORED, Reading

_HEAD = 512
_JP2 = (b"\x00\x00\x00\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")
_SLIDES = (".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vmu", ".svslide")
_DICOM = (".dcm", ".dicom", ".ima")
_ZARR = (".zarray", "zarr.json", ".zgroup", "attributes.json")


@dataclass(frozen=True)
class Format:
    """A family of files and what reads it.

    name: as `kind` of `open_image` says it. reads: for a person. reader: 'module:class', imported when the first such
    file is opened. recognise: whether a path, lower-case suffix and first bytes are such a file. extra: the optional
    extra of this package that it needs. packages: what that extra brings, as (import, distribution, accepted versions).
    """

    name: str
    reads: str
    reader: str
    recognise: Callable[[Path, str, bytes], bool]
    extra: str | None = None
    packages: tuple[tuple[str, str, str], ...] = ()

    def open(
        self, path: Path, *, as_mask: bool = False, page: int | None = None, reading: Reading = AS_STORED
    ) -> FileReader:
        """The file as a reader. Raises ModuleNotFoundError that names the extra where its library is missing."""
        self.require(path)
        module, _, name = self.reader.partition(":")
        kind = getattr(import_module(f"submissions.images.{module}"), name)
        given = {"page": page} if page is not None else {}
        with naming(path):
            reader: FileReader = kind(path, as_mask=as_mask, reading=reading, **given)
        return reader

    def require(self, path: Path) -> None:
        """Raises ValueError that names the extra where a library of this format is not installed."""
        missing = [distribution for module, distribution, _ in self.packages if util.find_spec(module) is None]
        if missing:
            raise ValueError(
                f"{path}: {self.reads} need {' and '.join(missing)}, which is not installed: "
                f"pip install 'segmentation-pipeline[{self.extra}]'"
            )


def _raster(path: Path, suffix: str, head: bytes) -> bool:
    png_or_jpeg = head.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"))
    netpbm = head[:2] in (b"P5", b"P6") and head[2:3].isspace()
    return png_or_jpeg or netpbm or (head.startswith(b"BM") and len(head) >= 26)


def _tiff(path: Path, suffix: str, head: bytes) -> bool:
    """A DICOM file may begin as a TIFF in its 128 bytes of preamble."""
    return head.startswith((b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")) and head[128:132] != b"DICM"


def _picture(path: Path, suffix: str, head: bytes) -> bool:
    webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    avif = head[4:8] == b"ftyp" and any(brand in head[8:40] for brand in (b"avif", b"avis"))
    return webp or avif or head.startswith((b"GIF87a", b"GIF89a", *_JP2))


def _nifti(path: Path, suffix: str, head: bytes) -> bool:
    return head[344:347] in (b"n+1", b"ni1") or head[4:7] == b"n+2"


def _slide(path: Path, suffix: str, head: bytes) -> bool:
    return suffix in _SLIDES


def _dicom(path: Path, suffix: str, head: bytes) -> bool:
    return head[128:132] == b"DICM" or (suffix in _DICOM and head[:2] in (b"\x08\x00", b"\x02\x00"))


def _itk(path: Path, suffix: str, head: bytes) -> bool:
    return head.startswith(b"NRRD000") or (suffix in (".mha", ".mhd") and b"NDims" in head)


def _mrc(path: Path, suffix: str, head: bytes) -> bool:
    return head[208:211] == b"MAP"


def _array(path: Path, suffix: str, head: bytes) -> bool:
    return head.startswith(b"\x93NUMPY") or (suffix == ".npz" and head.startswith(b"PK"))


def _mat(path: Path, suffix: str, head: bytes) -> bool:
    return head.startswith((b"MATLAB 5.0 MAT-file", b"MATLAB 7.3 MAT-file"))


def _hdf5(path: Path, suffix: str, head: bytes) -> bool:
    return head.startswith(b"\x89HDF\r\n\x1a\n")


def _chunks(path: Path, suffix: str, head: bytes) -> bool:
    return _is_zarr(path) or (path.name.lower().endswith((".zarr.zip", ".ome.zarr.zip")) and head.startswith(b"PK"))


def _is_zarr(path: Path) -> bool:
    return path.is_dir() and any((path / name).is_file() for name in _ZARR)


def _series(path: Path, suffix: str = "", head: bytes = b"") -> bool:
    return path.is_dir() and any(series_files(path))


def series_files(folder: Path) -> Iterator[Path]:
    """DICOM files of a folder, told by their endings; hidden ones are left out."""
    named = (path for path in folder.iterdir() if path.suffix.lower() in _DICOM and not path.name.startswith("."))
    return (path for path in named if path.is_file())


def is_container(path: Path) -> bool:
    """Whether a folder is one image: a Zarr or N5 array or a group of them, or the slices of a DICOM series."""
    return _is_zarr(path) or _series(path)


FORMATS = (
    Format("slide", "slides (NDPI, MRXS, SCN, BIF, VMS)", "formats.slides:SlideReader", _slide, "slides",
           (("openslide", "openslide-python", ">=1.4"), ("openslide_bin", "openslide-bin", ">=4.0"))),
    Format("raster", "PNG, JPEG, BMP, PPM and PGM", "rasters:RasterReader", _raster),
    Format("tiff", "TIFF, OME-TIFF, GeoTIFF and SVS", "tiff:TiffReader",
           _tiff),
    Format("picture", "GIF, WebP, JPEG 2000 and AVIF", "formats.pictures:PictureReader", _picture),
    Format("npy", ".npy and .npz arrays", "formats.arrays:ArrayFileReader", _array),
    Format("mat", ".mat arrays of MATLAB", "formats.matlab:MatReader", _mat),
    Format("hdf5", "HDF5 files", "formats.hdf5:Hdf5Reader", _hdf5),
    Format("nifti", "NIfTI", "nifti:NiftiReader", _nifti),
    Format("dicom", "DICOM files", "formats.dicom:DicomReader", _dicom, "dicom", (("pydicom", "pydicom", ">=3.0"),)),
    Format("series", "DICOM series", "formats.series:SeriesReader", _series, "dicom",
           (("pydicom", "pydicom", ">=3.0"),)),
    Format("itk", "NRRD, MHA and MHD volumes", "formats.itk:ItkReader", _itk, "itk",
           (("SimpleITK", "SimpleITK", ">=2.4"),)),
    Format("mrc", "MRC volumes", "formats.mrc:MrcReader", _mrc, "mrc", (("mrcfile", "mrcfile", ">=1.5"),)),
    Format("zarr", "Zarr, OME-Zarr and N5 arrays", "formats.chunked:ChunkedReader", _chunks, "zarr",
           (("tensorstore", "tensorstore", ">=0.1.70"), ("ml_dtypes", "ml-dtypes", ">=0.4"))),
)  # fmt: skip


def needed_packages(names: Collection[str]) -> dict[str, str]:
    """Distributions that the named formats need beside the package's own, and the versions that are accepted."""
    return {name: span for one in FORMATS if one.name in names for _, name, span in one.packages}


def find_format(path: Path) -> Format:
    """The format of a file, told by its first bytes (some by their ending), or of a folder that is one image.

    Raises FileNotFoundError for a missing file, ValueError for an empty one or one that none of them reads.
    """
    if not path.is_file() and not is_container(path):
        near = sorted(p.name for p in path.parent.iterdir())[:3] if path.parent.is_dir() else []
        hint = f"the folder holds {', '.join(near)} ..." if near else "the folder does not exist or is empty"
        raise FileNotFoundError(f"{path}: no such image file; {hint}")
    head = b"" if path.is_dir() else _first_bytes(path)
    found = next((one for one in FORMATS if one.recognise(path, path.suffix.lower(), head)), None)
    if found is None:
        known = "; ".join(one.reads for one in FORMATS)
        raise ValueError(
            f"{path}: bytes {head[:8]!r} at the start, expected one of: {known}: convert the file to one of them"
        )
    return found


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as stream:
        head = stream.read(_HEAD)
    if not head:
        raise ValueError(f"{path}: the file is empty (0 bytes): copy it again from the host")
    if head.startswith(b"\x1f\x8b"):
        try:
            with gzip.open(path) as stream:
                head = stream.read(_HEAD)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{path}: damaged gzip file ({error}): copy it again from the host") from error
    return head
