"""Rows of a table asked for before they are needed.

A request reads hundreds of rows from all over tables that no cache holds, and waits for each. Asked
for a few rows ahead they arrive while others are computed with, in about two thirds of the time.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from handlers.engine.compiled.jit import compiled

AHEAD = 4  # rows; more did not help
_LINE = 64  # bytes that a processor reads at a time
_READ, _KEEP, _DATA = 0, 3, 1  # llvm.org/docs/LangRef.html#llvm-prefetch-intrinsic


@compiled
def fetch(table: Any, row: int) -> None:
    """Ask for a row of a matrix, if there is one."""
    if 0 <= row < len(table):
        for column in range(0, table.shape[1], _LINE // table.itemsize):
            _prefetch(table, row, column)


@intrinsic  # type: ignore[untyped-decorator]  # Numba ships no types
def _prefetch(_context: Any, table: Any, row: Any, column: Any) -> Any:
    """Ask for the line in which an entry stands; does nothing that could be seen."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        matrix = context.make_array(signature.args[0])(context, builder, arguments[0])
        word = ir.IntType(64)
        address = builder.ptrtoint(matrix.data, word)
        for dimension in (0, 1):
            stride = builder.extract_value(matrix.strides, dimension)
            address = builder.add(address, builder.mul(arguments[1 + dimension], stride))
        pointer, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer, number, number, number])
        function = builder.module.declare_intrinsic("llvm.prefetch", (pointer,), kind)
        how = [ir.Constant(number, each) for each in (_READ, _KEEP, _DATA)]
        builder.call(function, [builder.inttoptr(address, pointer), *how])
        return context.get_dummy_value()

    return types.void(table, types.int64, types.int64), generate
