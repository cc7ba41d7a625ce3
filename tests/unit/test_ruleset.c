/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Comments, lists, and the text of schema and operations. */
#include <stdio.h>
#include <string.h>
#include <netinet/in.h>
#include <linux/netfilter.h>

#include "nat-bridge/ruleset.h"
#include "unit.h"

#define MARK UINT32_C(0x10000000)

static struct nb_network network(const char *text)
{
	struct nb_network network;

	ck_assert_int_eq(nb_network_parse(text, &network, NULL), 0);
	return network;
}

/* 95 characters, the longest that an engine's network may have */
#define LONG_NAME                                                  \
	"a2345678901234567890123456789012345678901234567890123456" \
	"789012345678901234567890123456789012345"

/* Comments */

START_TEST(comments_name_networks)
{
	char comment[NB_ELEMENT_COMMENT] = "";
	struct nb_network a = network("iface:br0"), b = network("docker:web"), found;
	struct nb_network prefix = network("iface:br"), tail = network("docker:we");

	ck_assert(!nb_comment_first_network(comment, &found));
	ck_assert(!nb_comment_has_network(comment, &a));
	nb_comment_add_network(comment, &a);
	nb_comment_add_network(comment, &a);
	ck_assert_str_eq(comment, "iface:br0");
	nb_comment_add_network(comment, &b);
	ck_assert_str_eq(comment, "iface:br0/docker:web");
	ck_assert(nb_comment_has_network(comment, &a) && nb_comment_has_network(comment, &b));
	ck_assert(!nb_comment_has_network(comment, &prefix));
	ck_assert(!nb_comment_has_network(comment, &tail));
	ck_assert(nb_comment_first_network(comment, &found));
	ck_assert_int_eq(nb_network_compare(&found, &a), 0);
	/* words that are none of ours are passed over */
	ck_assert(nb_comment_first_network("previous:1/what/docker:web", &found));
	ck_assert_int_eq(nb_network_compare(&found, &b), 0);
	ck_assert(!nb_comment_first_network("previous:1/what", &found));
}
END_TEST

START_TEST(comments_escape)
{
	static const struct {
		const char *network;
		const char *comment;
	} rows[] = {
		{ "iface:br-0.1_a@x", "iface:br-0.1_a@x" },
		{ "iface:a%b", "iface:a%25b" },
		{ "iface:a~!#$", "iface:a%7E%21%23%24" },
		{ "iface:(+,;<=>)", "iface:%28%2B%2C%3B%3C%3D%3E%29" },
		{ "iface:%41", "iface:%2541" },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		char comment[NB_ELEMENT_COMMENT] = "";
		struct nb_network one = network(rows[i].network), found;

		nb_comment_add_network(comment, &one);
		ck_assert_str_eq(comment, rows[i].comment);
		ck_assert(nb_comment_has_network(comment, &one));
		ck_assert(nb_comment_first_network(comment, &found));
		ck_assert_int_eq(nb_network_compare(&found, &one), 0);
	}
}
END_TEST

START_TEST(comments_of_others_are_decoded_with_care)
{
	static const char *const none[] = {
		"/",	      "//iface:br0", "iface:",	    "iface:%2F",
		"%00",	      "iface:a%0Ab", "iface:a%20b", "iface:sixteen-bytes-xx",
		"iface:a\"b", "lxc:a",	     "IFACE:br0",
	};
	struct nb_network found;
	char endless[400];

	for (size_t i = 0; i < COUNT(none); i++)
		ck_assert_msg(!nb_comment_first_network(none[i], &found), "%s", none[i]);
	/* an unfinished escape stands for itself */
	ck_assert(nb_comment_first_network("iface:a%4", &found));
	ck_assert_str_eq(found.name, "a%4");
	ck_assert(nb_comment_first_network("iface:a%zz", &found));
	ck_assert_str_eq(found.name, "a%zz");
	memset(endless, 'a', sizeof(endless) - 1);
	endless[sizeof(endless) - 1] = '\0';
	ck_assert(!nb_comment_first_network(endless, &found));
}
END_TEST

START_TEST(comments_remember_the_previous_value)
{
	char comment[NB_ELEMENT_COMMENT] = "iface:br0";

	ck_assert(!nb_comment_says_previous(comment));
	ck_assert_uint_eq(nb_comment_previous(comment), 0);
	nb_comment_set_previous(comment, 1);
	ck_assert_str_eq(comment, "iface:br0/previous:1");
	ck_assert(nb_comment_says_previous(comment));
	ck_assert_uint_eq(nb_comment_previous(comment), 1);
	nb_comment_set_previous(comment, 70000);
	ck_assert_str_eq(comment, "iface:br0/previous:70000");
	ck_assert_uint_eq(nb_comment_previous(comment), 70000);
	nb_comment_set_previous(comment, 0);
	ck_assert_str_eq(comment, "iface:br0/previous:0");
	ck_assert(nb_comment_says_previous(comment));

	comment[0] = '\0';
	nb_comment_set_previous(comment, 1);
	ck_assert_str_eq(comment, "previous:1");
	nb_comment_set_previous(comment, 2);
	ck_assert_str_eq(comment, "previous:2");
	ck_assert(!nb_comment_says_previous("previous:"));
	ck_assert(!nb_comment_says_previous("iface:previous"));
}
END_TEST

START_TEST(comments_have_127_characters)
{
	struct nb_network longest = network("docker:" LONG_NAME);
	struct nb_network fits = network("docker:x0123456789012345"), one = network("docker:y");
	char comment[NB_ELEMENT_COMMENT] = "";

	ck_assert_uint_eq(strlen(LONG_NAME), NB_NETWORK_NAME_SIZE - 1);
	nb_comment_add_network(comment, &longest);
	nb_comment_add_network(comment, &fits);
	ck_assert_uint_eq(strlen(comment), 102 + 1 + 24);
	ck_assert_uint_eq(strlen(comment), NB_ELEMENT_COMMENT - 1);
	/* no room: left out whole, never cut */
	nb_comment_add_network(comment, &one);
	ck_assert_uint_eq(strlen(comment), NB_ELEMENT_COMMENT - 1);
	ck_assert(nb_comment_has_network(comment, &fits));
	ck_assert(!nb_comment_has_network(comment, &one));

	/* the previous value matters more than names */
	nb_comment_set_previous(comment, 1);
	ck_assert_str_eq(comment, "docker:" LONG_NAME "/previous:1");
	nb_comment_set_previous(comment, 4294967295u);
	ck_assert_str_eq(comment, "docker:" LONG_NAME "/previous:4294967295");

	/* 126 used: not even one letter fits */
	memset(comment, 'a', sizeof(comment) - 2);
	comment[sizeof(comment) - 2] = '\0';
	nb_comment_add_network(comment, &one);
	ck_assert_uint_eq(strlen(comment), NB_ELEMENT_COMMENT - 2);
	nb_comment_set_previous(comment, 7);
	ck_assert_str_eq(comment, "previous:7");
}
END_TEST

START_TEST(comments_compare_as_sets)
{
	static const struct {
		const char *a, *b;
		bool equal;
	} rows[] = {
		{ "", "", true },
		{ "iface:br0", "iface:br0", true },
		{ "iface:br0/docker:web", "docker:web/iface:br0", true },
		{ "iface:br0/docker:web", "iface:br0", false },
		{ "iface:br0", "iface:br0/docker:web", false },
		{ "iface:br0", "", false },
		{ "iface:br0/previous:1", "iface:br0", false },
		{ "iface:br0/previous:1", "iface:br0/previous:2", false },
		{ "iface:br0/docker:web/previous:1", "docker:web/iface:br0/previous:1", true },
		/* nothing said is 0 */
		{ "iface:br0/previous:0", "iface:br0", true },
	};
	char to[NB_ELEMENT_COMMENT] = "docker:web/previous:1";

	for (size_t i = 0; i < COUNT(rows); i++) {
		ck_assert_int_eq(nb_comment_equal(rows[i].a, rows[i].b), rows[i].equal);
		ck_assert_int_eq(nb_comment_equal(rows[i].b, rows[i].a), rows[i].equal);
	}
	strcpy(to, "docker:web");
	nb_comment_add_networks(to, "iface:br0/docker:web/previous:1/podman:x");
	ck_assert_str_eq(to, "docker:web/iface:br0/podman:x");
}
END_TEST

START_TEST(runtime_marks)
{
	struct nb_network a = network("iface:br%0"), found;
	char comment[NB_ELEMENT_COMMENT];
	bool external = true;

	ck_assert_str_eq(nb_comment_runtime(&a, false, comment), "runtime/iface:br%250");
	ck_assert(nb_comment_is_runtime(comment, &found, &external));
	ck_assert(!external);
	ck_assert_int_eq(nb_network_compare(&found, &a), 0);
	ck_assert_str_eq(nb_comment_runtime(&a, true, comment), "runtime/external/iface:br%250");
	ck_assert(nb_comment_is_runtime(comment, &found, &external));
	ck_assert(external);
	a = network("docker:" LONG_NAME);
	nb_comment_runtime(&a, true, comment);
	ck_assert(nb_comment_is_runtime(comment, &found, &external));
	ck_assert_int_eq(nb_network_compare(&found, &a), 0);

	ck_assert(!nb_comment_is_runtime(NULL, &found, &external));
	ck_assert(!nb_comment_is_runtime("", &found, &external));
	ck_assert(!nb_comment_is_runtime("runtime", &found, &external));
	ck_assert(!nb_comment_is_runtime("runtime/", &found, &external));
	ck_assert(!nb_comment_is_runtime("runtime/external", &found, &external));
	ck_assert(!nb_comment_is_runtime("runtimes/iface:br0", &found, &external));
	ck_assert(!nb_comment_is_runtime("iface:br0/runtime", &found, &external));
	ck_assert(!nb_comment_is_runtime("external/iface:br0", &found, &external));
}
END_TEST

/* Lists */

static struct nb_element element(const char *bridge, int protocol, unsigned int port,
				 unsigned int target)
{
	struct nb_element element = {
		.protocol = (uint8_t)protocol,
		.port = (uint16_t)port,
		.target = { INADDR_LOOPBACK, (uint16_t)target },
	};

	snprintf(element.bridge, sizeof(element.bridge), "%s", bridge);
	return element;
}

START_TEST(elements_are_ordered)
{
	struct nb_element sorted[] = {
		element("a", IPPROTO_TCP, 80, 80),  element("a", IPPROTO_TCP, 80, 81),
		element("a", IPPROTO_TCP, 256, 1),  element("a", IPPROTO_UDP, 1, 1),
		element("aa", IPPROTO_TCP, 80, 80), element("b", IPPROTO_TCP, 80, 80),
		element("b", IPPROTO_TCP, 80, 1),
	};
	struct nb_element_list list = { 0 };
	struct nb_element absent = element("a", IPPROTO_UDP, 2, 1);

	sorted[6].target.address++;
	for (size_t i = 0; i < COUNT(sorted); i++)
		for (size_t j = 0; j < COUNT(sorted); j++) {
			int r = nb_element_compare(&sorted[i], &sorted[j]);

			ck_assert(i < j ? r < 0 : i > j ? r > 0 : r == 0);
		}
	ck_assert_int_eq(nb_element_compare_key(&sorted[0], &sorted[1]), 0);
	ck_assert_int_eq(nb_element_compare_key(&sorted[5], &sorted[6]), 0);

	ck_assert_ptr_null(nb_element_find(&list, &sorted[0]));
	nb_element_list_sort(&list);
	for (size_t i = COUNT(sorted); i-- > 0;)
		ck_assert_int_eq(nb_element_list_append(&list, &sorted[i]), 0);
	nb_element_list_sort(&list);
	for (size_t i = 0; i < COUNT(sorted); i++) {
		ck_assert_ptr_eq(nb_element_find_exact(&list, &sorted[i]), &list.items[i]);
		ck_assert_int_eq(nb_element_compare(&list.items[i], &sorted[i]), 0);
	}
	ck_assert_ptr_eq(nb_element_find(&list, &sorted[1]), &list.items[0]);
	ck_assert_ptr_null(nb_element_find(&list, &absent));
	ck_assert_ptr_null(nb_element_find_exact(&list, &absent));
	sorted[6].target.port++;
	ck_assert_ptr_null(nb_element_find_exact(&list, &sorted[6]));
	ck_assert(nb_element_list_has_bridge(&list, "a"));
	ck_assert(nb_element_list_has_bridge(&list, "aa"));
	ck_assert(nb_element_list_has_bridge(&list, "b"));
	ck_assert(!nb_element_list_has_bridge(&list, ""));
	ck_assert(!nb_element_list_has_bridge(&list, "ab"));
	ck_assert(!nb_element_list_has_bridge(&list, "c"));
	nb_element_list_clear(&list);
	ck_assert(!nb_element_list_has_bridge(&list, "a"));
}
END_TEST

START_TEST(lists_grow_and_own_comments)
{
	struct nb_element_list list = { 0 };
	struct nb_element one = element("a", IPPROTO_TCP, 1, 1);
	char comment[] = "mine";

	one.comment = comment;
	for (unsigned int i = 0; i < 100; i++) {
		one.port = (uint16_t)(1000 - i);
		ck_assert_int_eq(nb_element_list_append(&list, &one), 0);
	}
	comment[0] = 'M';
	nb_element_list_sort(&list);
	ck_assert_uint_eq(list.count, 100);
	ck_assert_uint_eq(list.items[0].port, 901);
	ck_assert_str_eq(list.items[99].comment, "mine");
	nb_element_list_clear(&list);
	ck_assert_uint_eq(list.count, 0);
	ck_assert_ptr_null(list.items);
}
END_TEST

START_TEST(expiry_has_slack)
{
	static const struct {
		int64_t a, b;
		bool same;
	} rows[] = {
		{ 0, 0, true },	      { 0, 1, false },	     { 5000, 5000, true },
		{ 5000, 6999, true }, { 5000, 7000, false }, { 1, 1999, true },
		{ 1000, 0, false },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct nb_element a = { .expires = rows[i].a }, b = { .expires = rows[i].b };

		ck_assert_int_eq(nb_element_same_expiry(&a, &b), rows[i].same);
		ck_assert_int_eq(nb_element_same_expiry(&b, &a), rows[i].same);
	}
}
END_TEST

START_TEST(bridges_are_kept_sorted)
{
	struct nb_bridge_list list = { 0 };
	char name[NB_IFNAME_SIZE];

	ck_assert_ptr_null(nb_bridge_find(&list, "br0"));
	for (unsigned int i = 0; i < 40; i++) {
		struct nb_bridge *bridge;

		snprintf(name, sizeof(name), "br%02u", i * 17 % 40);
		bridge = nb_bridge_put(&list, name);
		ck_assert_str_eq(bridge->name, name);
		ck_assert_str_eq(bridge->comment, "");
		strcpy(bridge->comment, name);
	}
	ck_assert_uint_eq(list.count, 40);
	for (unsigned int i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "br%02u", i);
		ck_assert_ptr_eq(nb_bridge_find(&list, name), &list.items[i]);
		ck_assert_str_eq(list.items[i].comment, name);
		ck_assert_ptr_eq(nb_bridge_put(&list, name), &list.items[i]);
	}
	ck_assert_ptr_null(nb_bridge_find(&list, "br"));
	ck_assert_ptr_null(nb_bridge_find(&list, "br4"));
	nb_bridge_list_clear(&list);
	ck_assert_uint_eq(list.count, 0);
}
END_TEST

/* Text */

/* What @print writes, to be freed. */
static char *schema_text(void)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	nb_schema_print(MARK, out);
	fclose(out);
	return text;
}

/* nft leaves empty lines between the parts of a table; the golden copy has none. */
static void drop_empty_lines(char *text)
{
	char *to = text;

	for (const char *from = text; *from; from++)
		if (*from != '\n' || (to > text && to[-1] != '\n'))
			*to++ = *from;
	*to = '\0';
}

START_TEST(schema_is_golden)
{
	char golden[8192] = "", *text = schema_text();
	FILE *file = fopen(NB_GOLDEN "/schema.nft", "r");

	ck_assert_ptr_nonnull(file);
	ck_assert_uint_lt(fread(golden, 1, sizeof(golden) - 1, file), sizeof(golden) - 1);
	fclose(file);
	drop_empty_lines(text);
	ck_assert_str_eq(text, golden);
	free(text);
}
END_TEST

START_TEST(schema_holds_any_mark)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	nb_schema_print(0x00000f00, out);
	fclose(out);
	ck_assert_ptr_nonnull(strstr(text, "meta mark & 0x00000f00 == 0x00000f00"));
	ck_assert_ptr_nonnull(strstr(text, "meta mark set meta mark & 0xfffff0ff"));
	ck_assert_ptr_nonnull(strstr(text, "meta mark set meta mark | 0x00000f00"));
	ck_assert_ptr_null(strstr(text, "0x1000"));
	free(text);
}
END_TEST

static char table_name[] = "filter", chain_name[] = "INPUT";

START_TEST(operations_in_words)
{
	struct nb_bridge bridge = { .name = "br0", .comment = "iface:br0" };
	struct nb_bridge bare = { .name = "br1" };
	struct nb_element plain = element("br0", IPPROTO_TCP, 80, 8080);
	struct nb_element timed = element("br0", IPPROTO_UDP, 53, 53);
	struct nb_input_chain ip = {
		.family = NFPROTO_IPV4, .table = table_name, .name = chain_name, .iptables = true
	};
	struct nb_input_chain inet = { .family = NFPROTO_INET,
				       .table = table_name,
				       .name = chain_name };
	struct nb_input_chain native = { .family = NFPROTO_IPV4,
					 .table = table_name,
					 .name = chain_name };
	const struct {
		struct nb_op op;
		const char *words;
		const char *script;
	} rows[] = {
		{ { NB_OP_TABLE_DELETE, { NULL } },
		  "delete table inet nat-bridge",
		  "delete table inet nat-bridge\n" },
		{ { NB_OP_TABLE_CREATE, { NULL } }, "create table inet nat-bridge", NULL },
		{ { NB_OP_BRIDGE_ADD, { .bridge = &bridge } },
		  "guard bridge br0",
		  "add element inet nat-bridge bridges { \"br0\" comment \"iface:br0\" }\n" },
		{ { NB_OP_BRIDGE_ADD, { .bridge = &bare } },
		  "guard bridge br1",
		  "add element inet nat-bridge bridges { \"br1\" }\n" },
		{ { NB_OP_BRIDGE_DELETE, { .bridge = &bridge } },
		  "release bridge br0",
		  "delete element inet nat-bridge bridges { \"br0\" }\n" },
		{ { NB_OP_TARGET_ADD, { .element = &plain } },
		  "add mapping br0 80/tcp to 127.0.0.1:8080",
		  "add element inet nat-bridge targets { \"br0\" . tcp . 80 : "
		  "127.0.0.1 . 8080 }\n" },
		{ { NB_OP_ACCEPTED_ADD, { .element = &plain } },
		  "add mapping br0 80/tcp to 127.0.0.1:8080",
		  "add element inet nat-bridge accepted { \"br0\" . tcp . 80 . "
		  "127.0.0.1 . 8080 }\n" },
		{ { NB_OP_TARGET_DELETE, { .element = &plain } },
		  "remove mapping br0 80/tcp to 127.0.0.1:8080",
		  "delete element inet nat-bridge targets { \"br0\" . tcp . 80 }\n" },
		{ { NB_OP_ACCEPTED_DELETE, { .element = &plain } },
		  "remove mapping br0 80/tcp to 127.0.0.1:8080",
		  "delete element inet nat-bridge accepted { \"br0\" . tcp . 80 . "
		  "127.0.0.1 . 8080 }\n" },
		{ { NB_OP_TARGET_ADD, { .element = &timed } },
		  "add mapping br0 53/udp to 127.0.0.1:53",
		  "add element inet nat-bridge targets { \"br0\" . udp . 53 timeout 1500ms "
		  "comment \"runtime/iface:br0\" : 127.0.0.1 . 53 }\n" },
		/* the mark stands in one place */
		{ { NB_OP_ACCEPTED_ADD, { .element = &timed } },
		  "add mapping br0 53/udp to 127.0.0.1:53",
		  "add element inet nat-bridge accepted { \"br0\" . udp . 53 . "
		  "127.0.0.1 . 53 timeout 1500ms }\n" },
		{ { NB_OP_OPENER_INSERT, { .opener = { &ip, 0 } } },
		  "insert the accept rule in chain ip filter INPUT",
		  "# the next rule's mark is an xt match, for iptables to read\n"
		  "insert rule ip filter INPUT ip daddr 127.0.0.0/8 meta mark & 0x10000000 == "
		  "0x10000000 counter accept comment \"nat-bridge\"\n" },
		{ { NB_OP_OPENER_INSERT, { .opener = { &native, 0 } } },
		  "insert the accept rule in chain ip filter INPUT",
		  "insert rule ip filter INPUT ip daddr 127.0.0.0/8 meta mark & 0x10000000 == "
		  "0x10000000 accept comment \"nat-bridge\"\n" },
		{ { NB_OP_OPENER_INSERT, { .opener = { &inet, 0 } } },
		  "insert the accept rule in chain inet filter INPUT",
		  "insert rule inet filter INPUT meta nfproto ipv4 ip daddr 127.0.0.0/8 "
		  "meta mark & 0x10000000 == 0x10000000 accept comment \"nat-bridge\"\n" },
		{ { NB_OP_OPENER_DELETE, { .opener = { &ip, 12 } } },
		  "delete the accept rule in chain ip filter INPUT",
		  "delete rule ip filter INPUT handle 12\n" },
	};
	char runtime[] = "runtime/iface:br0", words[256];

	timed.expires = 11500;
	timed.comment = runtime;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct nb_op op = rows[i].op;
		struct nb_op_list list = { .items = &op, .count = 1 };
		char *text = NULL, *schema = schema_text();
		size_t size;
		FILE *out = open_memstream(&text, &size);

		nb_ops_print(&list, MARK, 10000, out);
		fclose(out);
		ck_assert_str_eq(text, rows[i].script ? rows[i].script : schema);
		nb_op_describe(&op, words, sizeof(words));
		ck_assert_str_eq(words, rows[i].words);
		nb_op_describe(&op, words, 8);
		ck_assert_uint_eq(strlen(words), 7);
		free(text);
		free(schema);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ruleset");

	unit_add(suite, "comments_name_networks", comments_name_networks);
	unit_add(suite, "comments_escape", comments_escape);
	unit_add(suite, "comments_of_others", comments_of_others_are_decoded_with_care);
	unit_add(suite, "comments_previous", comments_remember_the_previous_value);
	unit_add(suite, "comments_have_127_characters", comments_have_127_characters);
	unit_add(suite, "comments_compare_as_sets", comments_compare_as_sets);
	unit_add(suite, "runtime_marks", runtime_marks);
	unit_add(suite, "elements_are_ordered", elements_are_ordered);
	unit_add(suite, "lists_grow", lists_grow_and_own_comments);
	unit_add(suite, "expiry_has_slack", expiry_has_slack);
	unit_add(suite, "bridges_are_kept_sorted", bridges_are_kept_sorted);
	unit_add(suite, "schema_is_golden", schema_is_golden);
	unit_add(suite, "schema_holds_any_mark", schema_holds_any_mark);
	unit_add(suite, "operations_in_words", operations_in_words);
	return unit_run(suite);
}
