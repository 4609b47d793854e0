"""Read pixel sizes, units and channels from the metadata of a TIFF."""

import logging
from typing import Any

import numpy as np
import tifffile

from napari_n2n.io.header import Channel, channel, number
from napari_n2n.io.tiff_series import TiffImage
from napari_n2n.io.units import unit_name

_log = logging.getLogger("napari_n2n")
# Value of the tag ResolutionUnit for a resolution without a unit. In inches and centimetres the
# resolution of an ImageJ file without a pixel size is that of a printer.
_NO_UNIT = 1
# Micrometres in the other units of that tag, inches and centimetres.
_MICROMETRES = {2: 25_400.0, 3: 10_000.0}
# Smallest dot of a printer or scanner, in micrometres (4,800 dots per inch): a smaller pixel size
# in the tags of a TIFF is that of a microscope.
_PRINTED = 5.0
# Tag in which Micro-Manager describes a plane.
_MICRO_MANAGER = 51123


def pixel_sizes(tif: tifffile.TiffFile, image: TiffImage) -> dict[str, tuple[float, str]]:
    """Return pixel size and unit by axis, as far as the metadata contain them.

    These are the metadata of OME, ImageJ, Zeiss LSM, MetaMorph STK, Micro-Manager and FEI. The
    resolution tags of a TIFF are used if they are finer than those of a printer.
    """
    found: dict[str, tuple[float, str]] = {}
    pixels = _ome_pixels(tif, image)
    for axis, key, unit in (
        *((axis, f"PhysicalSize{axis}", "µm") for axis in "XYZ"),
        ("T", "TimeIncrement", "s"),
    ):
        if key in pixels:
            found[axis] = (number(pixels[key]), unit_name(pixels.get(f"{key}Unit", unit)))
    if tif.is_imagej and not found:
        metadata = tif.imagej_metadata or {}
        unit = unit_name(metadata.get("unit", "pixel"))
        tags = tif.pages.first.tags
        for axis in "XY":
            resolution = tags.valueof(f"{axis}Resolution")
            if resolution is None or (unit == "pixel" and tags.valueof(296) != _NO_UNIT):
                continue
            per_unit, units = resolution
            own = unit_name(metadata.get(f"{axis.lower()}unit", unit))
            found[axis] = (units / per_unit if per_unit else 0.0, own)
        if "spacing" in metadata:
            own = unit_name(metadata.get("zunit", unit))
            found["Z"] = (abs(number(metadata["spacing"])), own)  # negative if planes go down
        if "finterval" in metadata:
            found["T"] = (number(metadata["finterval"]), unit_name(metadata.get("tunit", "second")))
    return found or next(filter(None, (read(tif, image) for read in _OTHERS)), {})


def _of_lsm(tif: tifffile.TiffFile, _: TiffImage) -> dict[str, tuple[float, str]]:
    """Return the pixel sizes of an LSM, which are in metres and seconds."""
    metadata = (tif.lsm_metadata or {}) if tif.is_lsm else {}
    sizes = {axis: number(metadata.get(f"VoxelSize{axis}")) for axis in "XYZ"}
    found = {axis: (round(size * 1e6, 9), "micrometer") for axis, size in sizes.items()}
    found["T"] = (number(metadata.get("TimeIntervall")), "second")  # Zeiss spells it so
    return found if metadata else {}


def _of_stk(tif: tifffile.TiffFile, _: TiffImage) -> dict[str, tuple[float, str]]:
    """Return the pixel sizes of an STK."""
    metadata = (tif.stk_metadata or {}) if tif.is_stk else {}
    unit = unit_name(str(metadata.get("CalibrationUnits", "")).strip("\0"))
    found = {
        axis: (_ratio(metadata[f"{axis}Calibration"]), unit)
        for axis in "XY"
        if f"{axis}Calibration" in metadata
    }
    distances = np.atleast_1d(metadata.get("ZDistance", 0.0))
    if found and float(distances[0]) > 0:
        found["Z"] = (float(distances[0]), unit)
    return found


def _of_micro_manager(tif: tifffile.TiffFile, image: TiffImage) -> dict[str, tuple[float, str]]:
    """Return the pixel sizes of Micro-Manager, which writes 0 for unknown ones."""
    plane = image.series.keyframe.tags.valueof(_MICRO_MANAGER)
    summary = (tif.micromanager_metadata or {}).get("Summary") if tif.is_micromanager else {}
    known = {**(summary or {}), **(plane if isinstance(plane, dict) else {})}
    side = number(known.get("PixelSizeUm", known.get("PixelSize_um")))
    found = {
        **dict.fromkeys("XY", (side, "micrometer")),
        "Z": (number(known.get("z-step_um")), "micrometer"),
        "T": (number(known.get("Interval_ms")), "millisecond"),
    }
    return {axis: step for axis, step in found.items() if step[0] > 0}


def _of_fei(tif: tifffile.TiffFile, _: TiffImage) -> dict[str, tuple[float, str]]:
    """Return the pixel sizes of an electron microscope of FEI, which are in metres."""
    scan = ((tif.fei_metadata or {}) if tif.is_fei else {}).get("Scan", {})
    sizes = {"X": number(scan.get("PixelWidth")), "Y": number(scan.get("PixelHeight"))}
    return {
        axis: (float(f"{size * 1e9:.7g}"), "nanometer") for axis, size in sizes.items() if size > 0
    }


def _of_tags(_: tifffile.TiffFile, image: TiffImage) -> dict[str, tuple[float, str]]:
    """Return the pixel sizes from the resolution tags, unless a printer could have them."""
    tags = image.series.keyframe.tags
    unit = _MICROMETRES.get(tags.valueof(296), 0.0)
    per_unit = {axis: _ratio(tags.valueof(f"{axis}Resolution")) for axis in "XY"}
    sizes = {axis: unit / many for axis, many in per_unit.items() if many}
    return {
        axis: (float(f"{size:.7g}"), "micrometer")  # fractions of TIFF have about that precision
        for axis, size in sizes.items()
        if 0 < size < _PRINTED
    }


_OTHERS = (_of_lsm, _of_stk, _of_micro_manager, _of_fei, _of_tags)


def _ratio(value: Any) -> float:
    """Return a fraction as a number; NaN if it is not a fraction."""
    above, below = value if isinstance(value, tuple) and len(value) == 2 else (value, 1)
    return number(above) / number(below) if number(below) else float("nan")


def channels_of(tif: tifffile.TiffFile, image: TiffImage) -> tuple[Channel, ...]:
    """Return the names and colours of the channels in OME metadata."""
    listed = _ome_pixels(tif, image).get("Channel", ())
    channels = listed if isinstance(listed, list | tuple) else [listed]
    return tuple(
        channel(one.get("Name"), _hexadecimal(one.get("Color")))
        for one in channels
        if isinstance(one, dict)
    )


def _ome_pixels(tif: tifffile.TiffFile, image: TiffImage) -> dict[str, Any]:
    """Return the ``Pixels`` element of an image in the OME metadata, or an empty dict."""
    if not (tif.is_ome and tif.ome_metadata):
        return {}
    try:
        listed = tifffile.xml2dict(tif.ome_metadata)["OME"]["Image"]
        described = listed if isinstance(listed, list) else [listed]
        if len(described) == len(tif.series):
            own = described[image.number]
        else:  # some of the described images are not in the file
            named = [one for one in described if one.get("Name") == image.series.name]
            own = (named or described)[0]
        found = own["Pixels"]
    except Exception as error:  # whatever the parser of damaged XML raises
        _log.warning("%s: its OME metadata cannot be read (%s)", tif.filename, error)
        return {}
    return found if isinstance(found, dict) else {}


def _hexadecimal(colour: Any) -> str:
    """Turn OME's signed RGBA number into RRGGBB; empty if it is not a number."""
    value = number(colour)
    return f"{int(value) & 0xFFFFFFFF:08X}"[:6] if value == value and abs(value) < 2**63 else ""
