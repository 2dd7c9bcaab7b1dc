"""What is shipped contains no secrets."""

import check_secrets


def test_no_secret_leaves_this_machine():
    check_secrets.main()
