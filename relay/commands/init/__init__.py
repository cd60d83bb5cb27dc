"""`relay init`: the migrations, brought into a project that may live already."""
