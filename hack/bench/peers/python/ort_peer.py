"""onnxruntime as a peer; see harness/peer.py for what it answers."""

import sys

import numpy as np
import onnxruntime

import speak

args = speak.arguments()
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = args.threads
options.inter_op_num_threads = 1
options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
session = onnxruntime.InferenceSession(args.model, options, providers=["CPUExecutionProvider"])
images = np.fromfile(args.images, np.float32).reshape(args.batch, 3, 32, 32)


def run() -> np.ndarray:
    return session.run(["logits"], {"image": images})[0]


sys.exit(speak.serve(run, {"version": onnxruntime.__version__}))
