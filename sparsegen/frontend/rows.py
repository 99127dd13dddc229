"""Rows as images of one row: what lies between convolutions of rows stays an image.

A convolution of rows, [N, C, L], is one of images, [N, C, 1, L], between two reshapes. This pass takes the
pointwise layers that follow as images too, so that a convolution can fuse them, and the next one reads them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from sparsegen.graph import Array, Identity, Layer, LayerGraph, Reshape, Shape, Step


def rows_to_images(graph: LayerGraph) -> LayerGraph:
    """Pointwise layers of rows that were images, as layers of these images; inputs and outputs stay rows."""
    rewriting = _Rewriting(graph, graph.shapes(), dict(graph.constants))
    for layer in graph.layers:
        rewriting.add(layer.renamed(rewriting.renamed))
    outputs = tuple(rewriting.renamed.get(name, name) for name in graph.outputs)
    return replace(graph, layers=rewriting.layers, outputs=outputs, constants=rewriting.constants)


@dataclass
class _Rewriting:
    """The new graph under construction; `images` are those that rows were, by the name of the rows."""

    graph: LayerGraph
    shapes: dict[str, Shape]
    constants: dict[str, Array]
    layers: list[Layer] = field(default_factory=list)
    images: dict[str, str] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)

    def add(self, layer: Layer) -> None:
        """Take over a layer of the old graph."""
        source = layer.inputs[0]
        image = self.images.get(source, source)
        if isinstance(layer.core, Reshape) and self.shapes[image] == layer.shape:
            self.renamed[layer.name] = image
            return
        if isinstance(layer.core, Reshape) and self.shapes[source] == _image(layer.shape):
            self.images[layer.name] = source
        elif (
            isinstance(layer.core, Identity) and source in self.images and layer.shape == self.shapes[source]
        ):
            steps = [self._of_image(step) for step in layer.epilogue]
            if all(step is not None for step in steps):
                self._add_image(layer, tuple(step for step in steps if step is not None))
                return
        self.layers.append(layer)

    def _add_image(self, layer: Layer, steps: tuple[Step, ...]) -> None:
        """The layer on the image that its input was, and its rows for whoever reads these."""
        source = self.images[layer.inputs[0]]
        image = replace(layer, inputs=(source,), shape=self.shapes[source], epilogue=steps)
        rows = Layer(f"{layer.name}#rows", Reshape(), (layer.name,), layer.shape)
        self.layers += [image, rows]
        self.shapes |= {image.name: image.shape, rows.name: rows.shape}
        self.images[rows.name] = image.name
        self.renamed[layer.name] = rows.name

    def _of_image(self, step: Step) -> Step | None:
        """A step on rows as one on images; None where its operand is rows that were no image."""
        name = step.operand
        if not isinstance(name, str) or (name in self.constants and self.constants[name].ndim < 2):
            return step
        if name in self.images:
            return replace(step, operand=self.images[name])
        if name not in self.constants:
            return None
        array = self.constants[name]
        own = f"{name}#of images"
        self.constants[own] = array.reshape(*array.shape[:-1], 1, array.shape[-1])
        return replace(step, operand=own)


def _image(shape: Shape) -> Shape | None:
    """Shape of rows as images of one row; None for other shapes than rows'."""
    return (*shape[:2], 1, shape[2]) if len(shape) == 3 else None
