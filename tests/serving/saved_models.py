"""SavedModels of other people's kinds, to serve."""

import numpy as np
import tensorflow as tf
from tensorflow.compat import v1
from tensorflow_serving.apis import prediction_log_pb2

CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"


class HalfPlus(tf.Module):
    """y = x / 2 + offset, with a variable; TensorFlow 2's style."""

    def __init__(self, offset):
        super().__init__()
        self.half = tf.Variable(0.5)
        self.offset = tf.Variable(float(offset))

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.float32, "x")])
    def predict(self, x):
        return {"y": self.half * x + self.offset}

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, 2), tf.uint8, "pixels"),
            tf.TensorSpec((), tf.string, "title"),
        ]
    )
    def describe(self, pixels, title):
        pixels = tf.ensure_shape(pixels, (None, 2))
        sums = tf.reduce_sum(tf.cast(pixels, tf.int64), 1)
        return {
            "sums": sums,
            "title": tf.strings.join([title, "!"]),
            "raw_bytes": tf.fill(tf.shape(sums), b"\xff\x00"),
        }


def save_half_plus(folder, offset=2):
    """Writes a version folder of TensorFlow 2's style."""
    module = HalfPlus(offset)
    tf.saved_model.save(
        module,
        str(folder),
        {"serving_default": module.predict, "describe": module.describe},
    )
    return folder


def save_examples_model(folder):
    """Writes a version folder of TensorFlow 1's style, for `Example`s."""
    with tf.Graph().as_default(), v1.Session() as session:
        serialized = v1.placeholder(tf.string, (None,), "serialized")
        parsed = tf.io.parse_example(
            serialized,
            {
                "x": tf.io.FixedLenFeature((1,), tf.float32),
                "shift": tf.io.FixedLenFeature((1,), tf.float32, 0.0),
            },
        )
        variable = v1.get_variable("half", initializer=0.5)
        y = variable * parsed["x"] + 2.0 + parsed["shift"]
        rows = tf.shape(serialized)[:1]
        classes = tf.tile([["low", "high"]], tf.concat([rows, [1]], 0))
        scores = tf.concat([1 - y, y], 1)
        session.run(v1.global_variables_initializer())
        info = v1.saved_model.build_tensor_info
        inputs = {"inputs": info(serialized)}
        builder = v1.saved_model.Builder(str(folder))
        builder.add_meta_graph_and_variables(
            session,
            ["serve"],
            {
                "serving_default": v1.saved_model.build_signature_def(
                    inputs, {"outputs": info(y)}, REGRESS
                ),
                "classify": v1.saved_model.build_signature_def(
                    inputs,
                    {"classes": info(classes), "scores": info(scores)},
                    CLASSIFY,
                ),
            },
        )
        builder.save()
    return folder


def examples(*values):
    """Serializes `Example`s with a feature x."""
    return [
        tf.train.Example(
            features=tf.train.Features(
                feature={
                    "x": tf.train.Feature(
                        float_list=tf.train.FloatList(value=[value])
                    )
                }
            )
        )
        for value in values
    ]


def half_plus(x, offset=2):
    """What `HalfPlus` computes."""
    return np.asarray(x, np.float32) / 2 + offset


class NativeExamples(tf.Module):
    """Classifies and regresses `Example`s; all its methods are Predict."""

    def __init__(self):
        super().__init__()
        self.half = tf.Variable(0.5)

    def _parse(self, inputs):
        features = {"x": tf.io.FixedLenFeature((), tf.float32)}
        return self.half * tf.io.parse_example(inputs, features)["x"]

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, "inputs")])
    def classify(self, inputs):
        y = self._parse(inputs)
        return {"scores": tf.stack([1 - y, y], 1)}

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.string, "inputs")])
    def regress(self, inputs):
        return {"outputs": self._parse(inputs)}


def save_native_examples(folder):
    """Writes a version folder of TensorFlow 2's style; it has warm-ups."""
    module = NativeExamples()
    tf.saved_model.save(
        module,
        str(folder),
        {"serving_default": module.regress, "classify": module.classify},
    )
    logs = [prediction_log_pb2.PredictionLog() for _ in range(3)]
    regress = logs[0].regress_log.request
    classify = logs[1].classify_log.request
    classify.model_spec.signature_name = "classify"
    several = logs[2].multi_inference_log.request
    several.tasks.add(method_name=REGRESS)
    for each in (regress, classify, several):
        each.input.example_list.examples.extend(examples(1, 2))
    file = folder / "assets.extra" / "tf_serving_warmup_requests"
    file.parent.mkdir()
    with tf.io.TFRecordWriter(str(file)) as writer:
        for log in logs:
            writer.write(log.SerializeToString())
    return folder
