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


def pixel_sizes(tif: tifffile.TiffFile, image: TiffImage) -> dict[str, tuple[float, str]]:
    """Return pixel size and unit by axis, as far as the metadata contain them.

    Read are those of OME, ImageJ, Zeiss LSM and MetaMorph STK.
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
            found["Z"] = (number(metadata["spacing"]), own)
        if "finterval" in metadata:
            found["T"] = (number(metadata["finterval"]), "second")
    return found or _of_lsm(tif) or _of_stk(tif)


def _of_lsm(tif: tifffile.TiffFile) -> dict[str, tuple[float, str]]:
    """Return the pixel sizes of an LSM, which are in metres and seconds."""
    metadata = (tif.lsm_metadata or {}) if tif.is_lsm else {}
    sizes = {axis: number(metadata.get(f"VoxelSize{axis}")) for axis in "XYZ"}
    found = {axis: (round(size * 1e6, 9), "micrometer") for axis, size in sizes.items()}
    found["T"] = (number(metadata.get("TimeIntervall")), "second")  # Zeiss spells it so
    return found if metadata else {}


def _of_stk(tif: tifffile.TiffFile) -> dict[str, tuple[float, str]]:
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


def _ratio(value: Any) -> float:
    """Return a fraction as a number; nan if it is none."""
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
