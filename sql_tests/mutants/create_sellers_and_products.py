"""Faults of the migration create_sellers_and_products."""

from __future__ import annotations

from sql_tests.mutants.killers import HEALTHY, LINTER, MATRIX
from sql_tests.mutants.mutant import Mutant

FILE = "create_sellers_and_products"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        "seller-without-a-name",
        "a seller's name may be blank",
        FILE,
        "check (btrim(name) <> '')",
        "check (btrim(name) is not null)",
        ("sellers_name_is_not_blank_check",),
    ),
    Mutant(
        "sku-twice",
        "a seller may have two products of one article number",
        FILE,
        "unique (seller_id, sku)",
        "unique (seller_id, sku, name)",
        ("products_seller_id_sku_key",),
    ),
    Mutant(
        "products-go-with-their-seller",
        "who removes a seller removes its products too",
        FILE,
        "constraint products_seller_id_fkey foreign key (seller_id) references public.sellers (id) on delete restrict",
        "constraint products_seller_id_fkey foreign key (seller_id) references public.sellers (id) on delete cascade",
        ("products_seller_id_fkey",),
    ),
    Mutant(
        "memberships-index-missing",
        "finding a seller's members reads all members",
        FILE,
        "create index seller_members_seller_id_idx on public.seller_members (seller_id);\n",
        "",
        (LINTER,),
    ),
    Mutant(
        "products-without-policies",
        "row level security of the products is off",
        FILE,
        "alter table public.products enable row level security;\n",
        "",
        ("test_stranger_sees_nothing",),
    ),
    Mutant(
        "members-without-policies",
        "row level security of the memberships is off",
        FILE,
        "alter table public.seller_members enable row level security;\n",
        "",
        ("test_stranger_sees_nothing",),
    ),
    Mutant(
        "products-unrevoked",
        "older projects' automatic grants on the products stay",
        FILE,
        "revoke all on table public.products from public, anon, authenticated, service_role;\n",
        "",
        (f"{MATRIX}[legacy]",),
    ),
    Mutant(
        "sellers-unrevoked-from-service-role",
        "service_role keeps older projects' automatic grants on the sellers",
        FILE,
        "revoke all on table public.sellers from public, anon, authenticated, service_role;",
        "revoke all on table public.sellers from public, anon, authenticated;",
        (f"{MATRIX}[legacy]",),
    ),
    Mutant(
        "products-public",
        "visitors may read the products",
        FILE,
        "grant select on table public.products to authenticated, service_role;",
        "grant select on table public.products to anon, authenticated, service_role;",
        ("test_visitor_is_denied_outright",),
    ),
    Mutant(
        "products-unreadable",
        "members may not read products at all",
        FILE,
        "grant select on table public.products to authenticated, service_role;",
        "grant select on table public.products to service_role;",
        ("test_member_sees_their_sellers_part",),
    ),
    Mutant(
        "sellers-every-column",
        "service_role may write every column of a seller",
        FILE,
        "grant insert (id, name) on table public.sellers to service_role;",
        "grant insert on table public.sellers to service_role;",
        (MATRIX,),
    ),
    Mutant(
        "memberships-of-everybody",
        "everybody sees all memberships",
        FILE,
        "using (user_id = (select auth.uid()));",
        "using (true);",
        ("test_stranger_sees_nothing",),
    ),
    Mutant(
        "sellers-of-everybody",
        "whoever is a member anywhere sees the sellers of all members",
        FILE,
        "using (\n    id = any(array(\n        select m.seller_id\n        from public.seller_members as m\n"
        "        where m.user_id = (select auth.uid())\n    ))\n);",
        "using (true);",
        ("test_member_sees_their_sellers_part",),
    ),
    Mutant(
        "products-of-everybody",
        "everybody sees all products",
        FILE,
        "using (\n    seller_id = any(array(\n        select m.seller_id\n        from public.seller_members as m\n"
        "        where m.user_id = (select auth.uid())\n    ))\n);",
        "using (true);",
        ("test_member_sees_their_sellers_part",),
    ),
    Mutant(
        "membership-policy-for-all-verbs",
        "the policy of the memberships is for writing too",
        FILE,
        "on public.seller_members\nfor select",
        "on public.seller_members\nfor all",
        (HEALTHY,),
    ),
    Mutant(
        "seller-unrenamable",
        "the shop cannot rename a seller",
        FILE,
        "grant update (name) on table public.sellers to service_role;\n",
        "",
        ("test_renamed_product_renames_no_history",),
    ),
    Mutant(
        "product-gets-another-seller",
        "the shop may give a product to another seller",
        FILE,
        "grant update (sku, name) on table public.products",
        "grant update (sku, name, seller_id) on table public.products",
        (MATRIX,),
    ),
    Mutant(
        "membership-for-ever",
        "the shop cannot end a membership",
        FILE,
        "grant delete on table public.seller_members to service_role;\n",
        "",
        ("test_membership_that_ends",),
    ),
)
