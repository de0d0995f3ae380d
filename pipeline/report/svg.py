"""SVG files that can stand together in one page: ids of their own, and texts that show where one points.

A drawing gives a part of a figure such a text through its id: `artist.set_gid(svg.tip("0.0132 at 4.1 bits"))`.
"""

from __future__ import annotations

from xml.etree import ElementTree

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
ElementTree.register_namespace("", SVG)
ElementTree.register_namespace("xlink", XLINK)
TIP = "tip:"
REFERENCES = ("clip-path", "fill", "filter", "mask", f"{{{XLINK}}}href", "style")


def tip(text: str) -> str:
    """The id of a part of a figure that shows `text` where one points at it."""
    return TIP + text


def tidy(text: str, key: str, alt: str) -> str:
    """An SVG file as matplotlib writes it, without what only stands in a file, and with ids that begin with `key`."""
    root = ElementTree.fromstring(text)
    for metadata in root.findall(f"{{{SVG}}}metadata"):
        root.remove(metadata)
    root.attrib.pop("version", None)
    root.attrib.update({"role": "img", "aria-label": alt})
    defined = {name: f"{key}-{name}" for one in root.iter(f"{{{SVG}}}defs") for name in ids(one)}
    for element in root.iter():
        element.attrib.pop("target", None)  # a link within the page stays in its window
        name = element.attrib.pop("id", "")
        if name in defined:
            element.set("id", defined[name])
        elif name.startswith(TIP):
            title = ElementTree.Element(f"{{{SVG}}}title")
            title.text = name.removeprefix(TIP)
            element.insert(0, title)
        for attribute in REFERENCES:
            if "#" in element.get(attribute, ""):
                element.set(attribute, renamed(element.attrib[attribute], defined))
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def ids(element: ElementTree.Element) -> list[str]:
    return [one.attrib["id"] for one in element.iter() if "id" in one.attrib]


def renamed(reference: str, names: dict[str, str]) -> str:
    """`#name`, or a style with `url(#name)` in it, with the new name; anything else, as a colour, as it is."""
    if reference.startswith("#"):
        return f"#{names.get(reference[1:], reference[1:])}"
    first, *rest = reference.split("url(#")
    pieces = [piece.partition(")") for piece in rest]
    return first + "".join(f"url(#{names.get(name, name)}){after}" for name, _, after in pieces)
