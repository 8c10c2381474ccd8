"""Runs ONNX files on tensors of files, so that tests can compare.

    run.py FOLDER

FOLDER has NAME.onnx for each model; for each of its inputs NAME.INPUT.f32, little-endian floats, whose batch follows from the
size; its outputs are written as NAME.OUTPUT.out.f32.
"""
import pathlib
import sys

import numpy
import onnxruntime


def main():
    folder = pathlib.Path(sys.argv[1])
    for path in sorted(folder.glob("*.onnx")):
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        feeds = {}
        for tensor in session.get_inputs():
            assert tensor.shape[0] == "n", f"{path.name}: the batch of {tensor.name} is {tensor.shape[0]}"
            values = numpy.fromfile(folder / f"{path.stem}.{tensor.name}.f32", "<f4")
            feeds[tensor.name] = values.reshape(-1, *tensor.shape[1:])
        names = [tensor.name for tensor in session.get_outputs()]
        for name, values in zip(names, session.run(names, feeds)):
            values.astype("<f4").tofile(folder / f"{path.stem}.{name}.out.f32")


main()
