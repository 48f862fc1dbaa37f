"""Chebyshev polynomials of a mesh operator: two sums, each the other's adjoint.

`T_0 = 1`, `T_1 = L`, `T_k = 2 L T_{k-1} - T_{k-2}`. As one sum is the
transpose of the other, each is the other's gradient, so training needs no
further formula and keeps no intermediate term.
"""

from keras import ops


def propagate(operator, inputs, order):
    """Computes `[T_0(L) x, ..., T_{order-1}(L) x]` by the recurrence.

    Args:
        operator: `MeshOperator` of `L`, `(V, V)`.
        inputs: `x`, `(batch, V, channels)` float tensor.
        order: Integer, number of terms, at least 1.

    Returns:
        `(batch, V, order * channels)`, the terms side by side.
    """

    @ops.custom_gradient
    def evaluate(x):
        def gradient(*args, upstream=None):
            (upstream,) = args or (upstream,)
            return clenshaw(operator.transpose, upstream, order)

        terms = [x]
        for _ in range(2, order):
            terms.append(operator.evaluate(_next_term, *terms[-2:]))
        if order == 1:
            return x, gradient
        return operator.evaluate(_join_with_next_term, *terms), gradient

    operator.check(inputs)
    return evaluate(inputs)


def clenshaw(operator, inputs, order):
    """Computes `sum_k T_k(L) y_k` by Clenshaw's recurrence.

    From the last term down, `b_k = y_k + 2 L b_{k+1} - b_{k+2}`; the sum is
    `y_0 + L b_1 - b_2`. The operator acts `order - 1` times.

    Args:
        operator: `MeshOperator` of `L`, `(V, V)`.
        inputs: `[y_0, ..., y_{order-1}]` side by side, float tensor
            `(batch, V, order * channels)`.
        order: Integer, number of terms, at least 1.

    Returns:
        `(batch, V, channels)`.
    """

    @ops.custom_gradient
    def evaluate(y):
        def gradient(*args, upstream=None):
            (upstream,) = args or (upstream,)
            return propagate(operator.transpose, upstream, order)

        if order == 1:
            return y, gradient
        # `None` stands for y_k itself, which is b_k of the last term, so that
        # no term need be cut out of its neighbours.
        above, current = None, None
        for k in range(order - 2, -1, -1):
            step = operator.evaluate(
                _clenshaw_step, k, order, y, current, above
            )
            above, current = current, step
        return current, gradient

    operator.check(inputs)
    return evaluate(inputs)


def _next_term(product, *terms):
    """`T_k x` of the one or two terms before it."""
    if len(terms) == 1:
        return product(terms[0])
    return 2.0 * product(terms[-1]) - terms[-2]


def _join_with_next_term(product, *terms):
    return ops.concatenate([*terms, _next_term(product, *terms)], axis=-1)


def _clenshaw_step(product, k, order, y, b_1, b_2):
    """`b_k` of the terms and of `b_{k+1}` and `b_{k+2}`."""
    channels = y.shape[-1] // order

    def term(index):
        return y[..., index * channels : (index + 1) * channels]

    b_1 = term(k + 1) if b_1 is None else b_1
    if k + 2 < order:
        b_2 = term(k + 2) if b_2 is None else b_2
        rest = term(k) - b_2
    else:
        rest = term(k)
    return rest + (1.0 if k == 0 else 2.0) * product(b_1)
