import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.users import user_number


def test_fourteen_hexadecimal_digits_are_a_number():
    assert user_number(pa.array(["00000000000001", "ffffffffffffff"])).tolist() == [1, (1 << 56) - 1]


def test_a_slice_is_read_where_it_is():
    texts = pa.array(["0000000000000a", "0000000000000b", "0000000000000c"])
    assert user_number(texts.slice(1, 2)).tolist() == [11, 12]


def test_any_other_text_is_a_hash_apart_from_them():
    odd = ["0000000000000A", "x", "", "0000000000000g", "000000000000é", " 000000000000f"]
    numbers = user_number(pa.array([*odd, "0000000000000f", odd[0]])).tolist()
    assert all(number < 0 for number in numbers[: len(odd)])
    assert len(set(numbers)) == len(odd) + 1
    assert numbers[-2:] == [15, numbers[0]]


@settings(deadline=None)
@given(st.lists(st.one_of(st.text("0123456789abcdefA", min_size=14, max_size=14), st.text(max_size=15)), min_size=1, max_size=30))
def test_a_user_has_one_number_whoever_is_beside(texts):
    assert user_number(pa.array(texts)).tolist() == [user_number(pa.array([text]))[0] for text in texts]
