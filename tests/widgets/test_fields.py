"""The fields of the forms: what they show, and what they mean for settings and recordings."""

import gc

import numpy as np
import pytest
import torch
from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QListWidget,
    QWidget,
)

from napari_n2n import Acquisition, BadInput, TrainingSettings
from napari_n2n.widgets import dock
from napari_n2n.widgets.forms.fields import (
    AxesField,
    MemoryField,
    collapsible,
    device_menu,
    form_layout,
    setting_field,
)

MAX_TOOLTIP_WORDS = 15


@pytest.mark.parametrize("name", ["Train", "Noise", "Denoise", "Simulate", "Split"])
def test_tooltips_are_short(make_napari_viewer_proxy, name):
    _, dock = make_napari_viewer_proxy().window.add_plugin_dock_widget("napari-n2n", name)
    tips = {one.toolTip() for one in dock.findChildren(QWidget)}
    assert len(tips) > 4
    assert not [tip for tip in tips if len(tip.split()) > MAX_TOOLTIP_WORDS]


@pytest.mark.parametrize("name", ["Train", "Noise", "Denoise", "Simulate", "Split"])
def test_screen_readers_find_a_name_for_every_control(make_napari_viewer_proxy, name):
    _, dock = make_napari_viewer_proxy().window.add_plugin_dock_widget("napari-n2n", name)
    kinds = (QComboBox, QAbstractSpinBox, QAbstractButton, QAbstractSlider, QListWidget)
    controls = [one for kind in kinds for one in dock.widget().findChildren(kind)]
    assert len(controls) > 3
    nameless = [
        one
        for one in controls
        if not one.accessibleName() and not (isinstance(one, QAbstractButton) and one.text())
    ]
    assert not [one for one in nameless if one.focusPolicy() != Qt.FocusPolicy.NoFocus]


def test_docks_become_tabs_and_not_slices(make_napari_viewer, qtbot):
    viewer = make_napari_viewer(show=True)
    frames = [
        viewer.window.add_plugin_dock_widget("napari-n2n", name)[0]
        for name in ("Noise", "Denoise", "Train")
    ]
    qtbot.wait(500)
    assert frames[2].height() > 300 and not frames[2].visibleRegion().isEmpty()
    assert all(frame.visibleRegion().isEmpty() for frame in frames[:2])


@pytest.mark.parametrize("name", ["minutes", "steps"])
def test_an_optional_setting_starts_at_the_text_for_none(qtbot, name):
    field = setting_field(name)
    assert field.value == 0
    assert field.native.text() == TrainingSettings.model_fields[name].json_schema_extra["unset"]


def test_a_field_has_the_limits_of_its_setting(qtbot):
    patch = setting_field("patch")
    assert (patch.min, patch.max, patch.step, patch.value) == (32, 1024, 16, 64)
    assert setting_field("batch").min == 1 and setting_field("seed").min == 0
    assert setting_field("dims").choices == ("auto", 2, 3)


def test_memory_is_shown_in_gigabytes(qtbot):
    field = setting_field("memory", 2.5)
    assert isinstance(field, MemoryField) and field.bytes == 2_500_000_000
    field.bytes = 700_000_000
    assert field.value == 0.7 and field.native.text() == "0.70 GB"


def test_the_axes_are_asked_for_only_if_they_are_not_labelled(qtbot):
    window, field = QWidget(), AxesField("recording")
    qtbot.addWidget(window)
    rows = form_layout(field, inside=window)
    field.hide_unless_needed(rows)
    stack = np.zeros((5, 8, 8), np.float32)
    unlabelled, labelled = Acquisition.open(stack), Acquisition.open(stack, axes="TYX")
    shown = {}
    for name, opened in {
        "nothing": None,
        "labelled": labelled,
        "in doubt": unlabelled,
        "labelled again": labelled,
        "axes are wrong": BadInput("no such axis", "axes"),
        "another error": BadInput("no such file", "missing"),
    }.items():
        field.show_for(opened)
        shown[name] = not field.native.isHidden()
    assert shown == dict.fromkeys(shown, False) | {"in doubt": True, "axes are wrong": True}
    field.value = "tcyx"
    assert not field.native.isHidden() and field.letters == "TCYX"
    field.value = ""
    assert field.native.isHidden() and field.letters is None


def test_tab_skips_the_fields_of_a_collapsed_section(qtbot):
    menu = device_menu()
    section = collapsible("Advanced", form_layout(menu))
    qtbot.addWidget(section)
    section.show()
    assert not menu.native.isVisible()
    qtbot.mouseClick(section.toggleButton(), Qt.MouseButton.LeftButton)
    assert menu.native.isVisible()
    qtbot.waitUntil(lambda: menu.native.visibleRegion().boundingRect().height() > 10)
    qtbot.mouseClick(section.toggleButton(), Qt.MouseButton.LeftButton)
    assert not menu.native.isVisible()


def test_the_arrow_of_a_section_has_the_colour_of_its_text_in_every_theme(qtbot):
    window = QWidget()
    section = collapsible("Advanced", form_layout(device_menu()))
    section.setParent(window)
    qtbot.addWidget(window)
    window.show()
    for colour in ("#f0f1f2", "#1e1e21"):
        window.setStyleSheet(f"QWidget {{color: {colour}}}")
        arrow = section.toggleButton().icon().pixmap(20).toImage()
        points = [(x, y) for x in range(arrow.width()) for y in range(arrow.height())]
        assert max((c.alpha(), c.name()) for c in (arrow.pixelColor(*one) for one in points)) == (
            255,
            colour,
        )


def test_the_menu_of_devices_offers_the_cards_of_this_computer(qtbot, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for cards, names in (
        (1, ("auto", "cpu", "cuda")),
        (2, ("auto", "cpu", "cuda", "cuda:0", "cuda:1")),
    ):
        monkeypatch.setattr(torch.cuda, "device_count", lambda cards=cards: cards)
        assert setting_field("device").choices == names
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    # The preferences may be those of another computer.
    assert setting_field("device", "cuda").value == "cuda"
    assert setting_field("device").choices == ("auto", "cpu")


def test_a_dock_that_is_deleted_by_a_garbage_collection_leaves_no_connection(qtbot):
    class Sender:
        changed = Signal(int)

    class Part(QWidget):
        def __init__(self):
            super().__init__()
            self.cycle, self.got = self, []
            dock.connect_while_alive(self, [(sender.changed, self.take)])

        def take(self, number):
            self.got.append(number)

    sender, before = Sender(), len(dock._while_alive)
    for number in range(5):
        part = Part()
        sender.changed.emit(number)
        assert part.got == [number]
        del part
        gc.collect()
    assert len(sender.changed) == 0 and len(dock._while_alive) == before
