"""Multiply-adds of ONNX operators, from the shapes that they read and write; what no rule knows is unknown, never 0."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from mnbench.network.layer import Shape

MICROSOFT = "com.microsoft"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """A node with the shapes of its operands; one that is left out or whose shape is not known has none."""

    domain: str
    operator: str
    attributes: Mapping[str, Any]
    inputs: Sequence[Shape | None]
    outputs: Sequence[Shape | None]

    def input(self, index: int) -> Shape:
        """Return the shape of an operand that the operator demands.

        Raises:
            UnknownShapeError: it is not known.
        """
        shape = self.inputs[index] if index < len(self.inputs) else None
        if shape is None:
            raise UnknownShapeError
        return shape

    @property
    def output_elements(self) -> int:
        """Return the number of elements of the first output.

        Raises:
            UnknownShapeError: its shape is not known.
        """
        if not self.outputs or self.outputs[0] is None:
            raise UnknownShapeError
        return prod(self.outputs[0])


class UnknownShapeError(Exception):
    """A shape that a rule needs is not known."""


def count_mult_adds(operation: Operation) -> int | None:
    """Return the multiply-adds, without bias and elementwise arithmetic; None if no rule knows the operator.

    A rule may not know all forms of an operator, such as an attention whose keys come from a cache.

    Raises:
        UnknownShapeError: the rule needs a shape that is not known.
    """
    if rule := RULES.get((operation.domain, operation.operator)):
        return rule(operation)
    return 0 if operation.operator in UNCOUNTED_OPERATORS.get(operation.domain, ()) else None


def _convolution(weight: int) -> Callable[[Operation], int]:
    """Each output element sums a window over the channels of its group; `weight` is (out, in / groups, …)."""
    return lambda node: node.output_elements * prod(node.input(weight)[1:])


def _matrix_product(left: int = 0, transpose: str = "") -> Callable[[Operation], int]:
    """Each output element sums over the last side of the left matrix, or the one before if it is transposed."""

    def rule(node: Operation) -> int:
        shape = node.input(left)
        transposed = transpose and node.attributes.get(transpose, 0)
        return node.output_elements * (shape[-2] if transposed else shape[-1])

    return rule


def _recurrent(gates: int, *, transposed: bool = False) -> Callable[[Operation], int]:
    """Each step multiplies input (time, batch, in) and state by the gates' weights (directions, gates × h, in)."""

    def rule(node: Operation) -> int:
        *steps, features = node.input(0)
        weights = node.input(1)
        directions = weights[0]
        state = weights[2 if transposed else 1] // gates
        return prod(steps) * directions * gates * state * (features + state)

    return rule


def _einsum(node: Operation) -> int | None:
    """Operands are contracted from left to right; without a side that is summed nothing is added."""
    equation = node.attributes["equation"].decode().replace(" ", "")
    terms, arrow, output = equation.partition("->")
    if "." in equation:
        return None
    operands = terms.split(",")
    if not arrow:
        output = "".join(sorted(letter for letter in set(terms) - {","} if terms.count(letter) == 1))
    sizes = {
        letter: size
        for index, operand in enumerate(operands)
        for letter, size in zip(operand, node.input(index), strict=True)
        if size != 1
    }
    total, joined = 0, set(operands[0])
    for index, operand in enumerate(operands[1:], start=1):
        both = joined | set(operand)
        joined = both & set(output).union(*operands[index + 1 :])
        if both != joined:
            total += prod(sizes.get(letter, 1) for letter in both)
    return total


def _attention(node: Operation) -> int | None:
    """ONNX's Attention: queries by keys, then by values; (batch, heads, length, size) or (batch, length, width)."""
    if len(node.inputs) > 4 and any(node.inputs[4:6]):
        return None
    query, key, value = node.input(0), node.input(1), node.input(2)
    if len(query) == 4:
        batch, heads, length, size = query
        return batch * heads * length * key[2] * (size + value[3])
    heads, key_heads = node.attributes["q_num_heads"], node.attributes["kv_num_heads"]
    batch, length, width = query
    return batch * length * key[1] * (width + heads * value[2] // key_heads)


def _projected_attention(node: Operation) -> int | None:
    """com.microsoft's Attention and QAttention: the input (batch, length, in) by its weights, then attention."""
    quantized = node.operator == "QAttention"
    past = node.inputs[8 if quantized else 4 :]
    if any(past[:1]) or "qkv_hidden_sizes" in node.attributes:
        return None
    batch, length, features = node.input(0)
    width = node.input(1)[1]
    return batch * length * (features * width + 2 * length * width // 3)


def _multi_head_attention(node: Operation) -> int | None:
    """com.microsoft's MultiHeadAttention with query, key and value as (batch, length, hidden)."""
    if len(node.inputs) < 3 or any(node.inputs[6:8]) or not all(s and len(s) == 3 for s in node.inputs[:3]):
        return None
    query, key, value = node.input(0), node.input(1), node.input(2)
    return query[0] * query[1] * key[1] * (query[2] + value[2])


RULES: Mapping[tuple[str, str], Callable[[Operation], int | None]] = {
    ("", "Conv"): _convolution(1),
    ("", "ConvInteger"): _convolution(1),
    ("", "QLinearConv"): _convolution(3),
    ("", "DeformConv"): _convolution(1),
    ("", "ConvTranspose"): lambda node: prod(node.input(0)) * prod(node.input(1)[1:]),
    ("", "MatMul"): _matrix_product(),
    ("", "MatMulInteger"): _matrix_product(),
    ("", "QLinearMatMul"): _matrix_product(),
    ("", "Gemm"): _matrix_product(transpose="transA"),
    ("", "LSTM"): _recurrent(4),
    ("", "GRU"): _recurrent(3),
    ("", "RNN"): _recurrent(1),
    ("", "Einsum"): _einsum,
    ("", "Attention"): _attention,
    (MICROSOFT, "FusedConv"): _convolution(1),
    (MICROSOFT, "FusedGemm"): _matrix_product(transpose="transA"),
    (MICROSOFT, "QGemm"): _matrix_product(transpose="transA"),
    (MICROSOFT, "FusedMatMul"): _matrix_product(transpose="transA"),
    (MICROSOFT, "TransposeMatMul"): _matrix_product(transpose="transA"),
    (MICROSOFT, "MatMulIntegerToFloat"): _matrix_product(),
    (MICROSOFT, "DynamicQuantizeMatMul"): _matrix_product(),
    (MICROSOFT, "MatMulInteger16"): _matrix_product(),
    (MICROSOFT, "MatMulNBits"): _matrix_product(),
    (MICROSOFT, "MatMulBnb4"): _matrix_product(),
    (MICROSOFT, "DynamicQuantizeLSTM"): _recurrent(4, transposed=True),
    (MICROSOFT, "Attention"): _projected_attention,
    (MICROSOFT, "QAttention"): _projected_attention,
    (MICROSOFT, "MultiHeadAttention"): _multi_head_attention,
}
"""By domain and operator. Not here, and therefore unknown: control flow, DFT and STFT, trees, and other domains."""

UNCOUNTED_OPERATORS: Mapping[str, frozenset[str]] = {
    "": frozenset(
        """
        Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh AveragePool BatchNormalization Bernoulli BitCast
        BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor BlackmanWindow Cast CastLike Ceil Celu CenterCropPad Clip
        Col2Im Compress Concat ConcatFromSequence Constant ConstantOfShape Cos Cosh CumProd CumSum DepthToSpace
        DequantizeLinear Div Dropout DynamicQuantizeLinear Elu Equal Erf Exp Expand EyeLike Flatten Floor Gather
        GatherElements GatherND Gelu GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GridSample
        GroupNormalization HammingWindow HannWindow HardSigmoid HardSwish Hardmax Identity InstanceNormalization IsInf
        IsNaN LRN LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax LpNormalization LpPool Max MaxPool
        MaxRoiPool MaxUnpool Mean MeanVarianceNormalization MelWeightMatrix Min Mish Mod Mul Multinomial Neg
        NonMaxSuppression NonZero Not OneHot Optional OptionalGetElement OptionalHasElement Or PRelu Pad Pow
        QuantizeLinear RMSNormalization RandomNormal RandomNormalLike RandomUniform RandomUniformLike Range Reciprocal
        ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum
        ReduceSumSquare RegexFullMatch Relu Reshape Resize ReverseSequence RoiAlign RotaryEmbedding Round Scatter
        ScatterElements ScatterND Selu SequenceAt SequenceConstruct SequenceEmpty SequenceErase SequenceInsert
        SequenceLength Shape Shrink Sigmoid Sign Sin Sinh Size Slice Softmax Softplus Softsign SpaceToDepth Split
        SplitToSequence Sqrt Squeeze StringConcat StringNormalizer StringSplit Sub Sum Swish Tan Tanh TensorScatter
        TfIdfVectorizer ThresholdedRelu Tile TopK Transpose Trilu Unique Unsqueeze Upsample Where Xor
        """.split()
    ),
    MICROSOFT: frozenset(
        """
        BiasAdd BiasDropout BiasGelu BiasSoftmax BiasSplitGelu DequantizeLinear DynamicQuantizeLinear
        EmbedLayerNormalization FastGelu Gelu GroupNorm QEmbedLayerNormalization QLinearAdd QLinearAveragePool
        QLinearConcat QLinearGlobalAveragePool QLinearLeakyRelu QLinearMul QLinearReduceMean QLinearSigmoid
        QLinearSoftmax QLinearWhere QuantizeLinear QuickGelu RotaryEmbedding SkipGroupNorm SkipLayerNormalization
        SkipSimplifiedLayerNormalization
        """.split()
    ),
    "ai.onnx.ml": frozenset(
        """
        ArrayFeatureExtractor Binarizer CastMap CategoryMapper DictVectorizer FeatureVectorizer Imputer LabelEncoder
        Normalizer OneHotEncoder Scaler ZipMap
        """.split()
    ),
}
"""Operators without a sum of products over channels or a matrix: elementwise, pooling, normalization, moving data."""
