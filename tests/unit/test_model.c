/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Errors, networks, mappings. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "nat-bridge/mapping.h"
#include "unit.h"

/* Errors */

START_TEST(error_set_fills_and_returns)
{
	struct nb_error err;

	memset(&err, 0x55, sizeof(err));
	ck_assert_int_eq(nb_error_set(&err, NB_STATUS_USAGE, EINVAL, "usage", "%d is wrong", 7),
			 -EINVAL);
	ck_assert_int_eq(err.status, NB_STATUS_USAGE);
	ck_assert_int_eq(err.number, EINVAL);
	ck_assert_str_eq(err.code, "usage");
	ck_assert_str_eq(err.message, "7 is wrong");
	ck_assert_str_eq(err.file, "");
	ck_assert_str_eq(err.key, "");
	ck_assert_uint_eq(err.line, 0);
	ck_assert_int_eq(nb_error_set(NULL, NB_STATUS_FAILED, ENOENT, "x", "y"), -ENOENT);
	ck_assert_int_eq(nb_error_set(NULL, NB_STATUS_FAILED, 0, "x", "y"), -EINVAL);
	ck_assert_int_eq(nb_error_set(&err, NB_STATUS_FAILED, 0, "x", "y"), -EINVAL);
	ck_assert_int_eq(err.number, 0);
}
END_TEST

START_TEST(error_may_quote_itself)
{
	struct nb_error err;

	nb_error_set(&err, NB_STATUS_FAILED, EIO, "a", "inner");
	nb_error_set(&err, NB_STATUS_FAILED, EIO, err.code, "outer: %s", err.message);
	ck_assert_str_eq(err.message, "outer: inner");
	nb_error_prefix(&err, "%s of %d", "add", 3);
	ck_assert_str_eq(err.message, "add of 3: outer: inner");
	nb_error_prefix(NULL, "nothing");
}
END_TEST

START_TEST(error_is_one_clean_line)
{
	struct nb_error err;
	char huge[3000];

	nb_error_set(&err, NB_STATUS_FAILED, EIO, "a", "%s", "a\nb\tc\033[1md\x7f\xff\xc2\x9b\xc3");
	ck_assert_str_eq(err.message, "a b?c?[1md????"
				      "?");
	nb_error_set(&err, NB_STATUS_FAILED, EIO, "a", "%s", "1–65535 „ü“ 😀");
	ck_assert_str_eq(err.message, "1–65535 „ü“ 😀");

	/* Cut between characters, never inside of one. */
	for (size_t i = 0; i + 3 < sizeof(huge); i += 2)
		memcpy(huge + i, "ü", 3);
	for (int shift = 0; shift < 2; shift++) {
		size_t length;

		nb_error_set(&err, NB_STATUS_FAILED, EIO, "a", "%s%s", shift ? "x" : "", huge);
		length = strlen(err.message);
		ck_assert_uint_ge(length, sizeof(err.message) - 2);
		ck_assert_str_eq(err.message + length - 2, "ü");
	}
	nb_error_prefix(&err, "%s", huge);
	ck_assert_uint_lt(strlen(err.message), sizeof(err.message));
}
END_TEST

START_TEST(warnings_keep_order_and_drop_repetitions)
{
	struct nb_warnings warnings = { 0 };

	for (int i = 0; i < 100; i++) {
		nb_warn(&warnings, "warning %d", i);
		nb_warn(&warnings, "warning %d", i / 2);
	}
	ck_assert_uint_eq(warnings.count, 100);
	ck_assert_str_eq(warnings.items[0], "warning 0");
	ck_assert_str_eq(warnings.items[99], "warning 99");
	nb_warn(NULL, "nothing");
	nb_warnings_clear(&warnings);
	ck_assert_uint_eq(warnings.count, 0);
	nb_warnings_clear(&warnings);
}
END_TEST

/* Networks */

static const struct {
	const char *name;
	const char *why; /* NULL: valid */
} ifnames[] = {
	{ "a", NULL },
	{ "br-0123456789ab", NULL },
	{ "fifteen-bytes-x", NULL },
	{ "sixteen-bytes-xx", "longer than 15" },
	{ "...", NULL },
	{ ".a", NULL },
	{ "a~!#$%&()+,;<=>", NULL },
	{ "@[]^_{|}?", NULL },
	{ "", "empty" },
	{ ".", "no device name" },
	{ "..", "no device name" },
	{ "a/b", "slash" },
	{ "a:b", "colon" },
	{ "a\"b", "quote" },
	{ "a'b", "quote" },
	{ "a`b", "quote" },
	{ "a*", "'*'" },
	{ "a\\b", "backslash" },
	{ "a b", "blank" },
	{ "a\tb", "control" },
	{ "a\nb", "control" },
	{ "a\x1f", "control" },
	{ "a\x7f", "not ASCII" },
	{ "b\xc3\xbc", "not ASCII" },
};

START_TEST(ifname_validity)
{
	for (size_t i = 0; i < COUNT(ifnames); i++) {
		const char *why = "";
		bool valid = nb_ifname_valid(ifnames[i].name, &why);

		ck_assert_msg(valid == !ifnames[i].why, "%s: %s", ifnames[i].name, why);
		ck_assert_msg(valid || strstr(why, ifnames[i].why), "%s: %s", ifnames[i].name, why);
		ck_assert_int_eq(nb_ifname_valid(ifnames[i].name, NULL), valid);
	}
}
END_TEST

static const char name95[] = "a23456789012345678901234567890123456789012345678901234567890"
			     "12345678901234567890123456789012345";

START_TEST(network_parse_valid)
{
	static const struct {
		const char *text;
		enum nb_engine engine;
		const char *name;
	} rows[] = {
		{ "iface:br0", NB_ENGINE_IFACE, "br0" },
		{ "iface:docker", NB_ENGINE_IFACE, "docker" },
		{ "docker:agents", NB_ENGINE_DOCKER, "agents" },
		{ "docker:9_.-", NB_ENGINE_DOCKER, "9_.-" },
		{ "podman:web", NB_ENGINE_PODMAN, "web" },
	};
	struct nb_network network;
	char text[NB_NETWORK_SIZE];
	char longest[NB_NETWORK_SIZE];

	for (size_t i = 0; i < COUNT(rows); i++) {
		ck_assert(nb_network_is_qualified(rows[i].text));
		ck_assert_int_eq(nb_network_parse(rows[i].text, &network, NULL), 0);
		ck_assert_int_eq(network.engine, rows[i].engine);
		ck_assert_str_eq(network.name, rows[i].name);
		ck_assert_str_eq(nb_network_format(&network, text), rows[i].text);
	}
	ck_assert_uint_eq(strlen(name95), NB_NETWORK_NAME_SIZE - 1);
	snprintf(longest, sizeof(longest), "docker:%s", name95);
	ck_assert_int_eq(nb_network_parse(longest, &network, NULL), 0);
	ck_assert_str_eq(nb_network_format(&network, text), longest);
}
END_TEST

START_TEST(network_parse_refusals)
{
	static const struct {
		const char *text;
		int r;
		const char *says;
	} rows[] = {
		{ "br0", -ENOENT, "iface:br0" },
		{ "agents", -ENOENT, "docker:agents" },
		{ "my-long-network-name", -ENOENT, "docker:my-long-network-name" },
		{ "my-long-network-name", -ENOENT, "podman:my-long-network-name" },
		{ "", -EINVAL, "empty" },
		{ "iface", -ENOENT, "iface:iface" },
		{ "Docker:x", -EINVAL, "no known prefix" },
		{ "lxc:x", -EINVAL, "docker:NAME" },
		{ "a b", -EINVAL, "blank" },
		{ "iface:", -EINVAL, "empty" },
		{ "iface:.", -EINVAL, "no device name" },
		{ "iface:sixteen-bytes-xx", -EINVAL, "longer than 15" },
		{ "iface:a:b", -EINVAL, "colon" },
		{ "docker:", -EINVAL, "empty" },
		{ "docker:-a", -EINVAL, "letter or a digit" },
		{ "docker:.a", -EINVAL, "letter or a digit" },
		{ "docker:a b", -EINVAL, "something else" },
		{ "podman:a/b", -EINVAL, "something else" },
		{ "podman:b\xc3\xbc", -EINVAL, "something else" },
	};
	struct nb_network network = { .name = "untouched" };
	struct nb_error err;
	char longer[NB_NETWORK_SIZE + 8];

	for (size_t i = 0; i < COUNT(rows); i++) {
		int r = nb_network_parse(rows[i].text, &network, &err);

		ck_assert_msg(r == rows[i].r, "%s: %d", rows[i].text, r);
		ck_assert_int_eq(err.status, NB_STATUS_USAGE);
		ck_assert_msg(strstr(err.message, rows[i].says) != NULL, "%s: %s", rows[i].text,
			      err.message);
		ck_assert_int_eq(nb_network_parse(rows[i].text, &network, NULL), rows[i].r);
		ck_assert_str_eq(network.name, "untouched");
	}
	snprintf(longer, sizeof(longer), "podman:%sx", name95);
	ck_assert_int_eq(nb_network_parse(longer, &network, &err), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.message, "longer than 95"));
	ck_assert(!nb_network_is_qualified("br0"));
	ck_assert(!nb_network_is_qualified("ifac:br0"));
	ck_assert(!nb_network_is_qualified("ifaces:br0"));
}
END_TEST

START_TEST(network_order)
{
	static const char *const sorted[] = { "iface:b", "iface:z", "docker:a", "docker:aa",
					      "podman:a" };
	struct nb_network a;
	struct nb_network b;

	for (size_t i = 0; i < COUNT(sorted); i++) {
		for (size_t j = 0; j < COUNT(sorted); j++) {
			int r;

			ck_assert_int_eq(nb_network_parse(sorted[i], &a, NULL), 0);
			ck_assert_int_eq(nb_network_parse(sorted[j], &b, NULL), 0);
			r = nb_network_compare(&a, &b);
			ck_assert(i < j ? r < 0 : i > j ? r > 0 : r == 0);
		}
	}
}
END_TEST

/* Mappings */

static struct nb_mapping make(const char *network, int protocol, unsigned int port)
{
	struct nb_mapping mapping = {
		.protocol = (uint8_t)protocol,
		.port = (uint16_t)port,
		.target = { INADDR_LOOPBACK, (uint16_t)port },
		.enabled = true,
	};

	ck_assert_int_eq(nb_network_parse(network, &mapping.network, NULL), 0);
	return mapping;
}

START_TEST(mapping_order)
{
	const struct nb_mapping sorted[] = {
		make("iface:a", IPPROTO_TCP, 80),  make("iface:a", IPPROTO_TCP, 81),
		make("iface:a", IPPROTO_UDP, 1),   make("iface:b", IPPROTO_TCP, 1),
		make("docker:a", IPPROTO_TCP, 80),
	};

	for (size_t i = 0; i < COUNT(sorted); i++) {
		for (size_t j = 0; j < COUNT(sorted); j++) {
			int r = nb_mapping_compare_key(&sorted[i], &sorted[j]);

			ck_assert(i < j ? r < 0 : i > j ? r > 0 : r == 0);
		}
	}
}
END_TEST

/* A sequence without visible order, the same in each run. */
static unsigned int next_random(unsigned int *state)
{
	*state = *state * 1103515245u + 12345u;
	return *state >> 8;
}

START_TEST(list_sort_is_stable)
{
	static const size_t counts[] = { 0, 1, 2, 7, 8, 9, 10, 100, 5000 };
	unsigned int state = 1;

	for (size_t c = 0; c < COUNT(counts); c++) {
		struct nb_mapping_list list = { 0 };

		for (size_t i = 0; i < counts[c]; i++) {
			unsigned int random = next_random(&state);
			struct nb_mapping mapping = make(random & 1 ? "iface:a" : "docker:b",
							 IPPROTO_TCP, 1 + random % 97);

			mapping.line = (unsigned int)i;
			ck_assert_int_eq(nb_mapping_list_append(&list, &mapping), 0);
		}
		nb_mapping_list_sort(&list);
		ck_assert_uint_eq(list.count, counts[c]);
		for (size_t i = 1; i < list.count; i++) {
			int r = nb_mapping_compare_key(&list.items[i - 1], &list.items[i]);

			ck_assert_int_le(r, 0);
			ck_assert(r < 0 || list.items[i - 1].line < list.items[i].line);
		}
		nb_mapping_list_clear(&list);
	}
}
END_TEST

START_TEST(list_owns_comments)
{
	struct nb_mapping_list list = { 0 };
	struct nb_mapping mapping = make("iface:a", IPPROTO_TCP, 80);
	char comment[] = "mine";

	mapping.comment = comment;
	ck_assert_int_eq(nb_mapping_list_append(&list, &mapping), 0);
	comment[0] = 'M';
	ck_assert_str_eq(list.items[0].comment, "mine");
	nb_mapping_list_clear(&list);
	ck_assert_uint_eq(list.count, 0);
	ck_assert_ptr_null(list.items);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("model");

	unit_add(suite, "error_set_fills_and_returns", error_set_fills_and_returns);
	unit_add(suite, "error_may_quote_itself", error_may_quote_itself);
	unit_add(suite, "error_is_one_clean_line", error_is_one_clean_line);
	unit_add(suite, "warnings_keep_order_and_drop_repetitions",
		 warnings_keep_order_and_drop_repetitions);
	unit_add(suite, "ifname_validity", ifname_validity);
	unit_add(suite, "network_parse_valid", network_parse_valid);
	unit_add(suite, "network_parse_refusals", network_parse_refusals);
	unit_add(suite, "network_order", network_order);
	unit_add(suite, "mapping_order", mapping_order);
	unit_add(suite, "list_sort_is_stable", list_sort_is_stable);
	unit_add(suite, "list_owns_comments", list_owns_comments);
	return unit_run(suite);
}
