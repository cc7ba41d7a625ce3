/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a rule file may hold, and how a wrong one is refused. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dir.h"
#include "nat-bridge/rules.h"
#include "unit.h"

#define MAPPING(text)	"{ \"version\": 1, \"mappings\": [ " text " ] }"
#define NETWORK		"\"network\": \"iface:br0\""
#define WITH_PORT(rest) MAPPING("{ " NETWORK ", \"port\": 80" rest " }")

static struct nb_rules rules;
static struct nb_warnings warnings;
static struct nb_error err;

static void setup(void)
{
	dir_enter();
	ck_assert_int_eq(mkdir("rules.d", 0755), 0);
}

static void teardown(void)
{
	nb_rules_clear(&rules);
	nb_warnings_clear(&warnings);
	dir_leave();
}

static void read_rules(void)
{
	nb_rules_clear(&rules);
	nb_warnings_clear(&warnings);
	ck_assert_msg(!nb_rules_read("rules.d", &rules, &warnings, &err), "%s", err.message);
}

static const char *const valid_files[] = {
	WITH_PORT(""),
	"{\"mappings\":[]}",
	"\t\r\n {\"mappings\" : [ ] , \"version\":1}\r\n",
	WITH_PORT(", \"target\": \"8080\""),
	WITH_PORT(", \"target\": \"127.255.255.254:65535\""),
	WITH_PORT(", \"protocol\": \"udp\""),
	WITH_PORT(", \"until\": \"1970-01-01T00:00:01Z\""),
	WITH_PORT(", \"comment\": \"\""),
	WITH_PORT(", \"comment\": \"\xc3\xbc \xe2\x82\xac \xf0\x9f\x98\x80\""),
	MAPPING("{ " NETWORK ", \"port\": 1 }"),
	MAPPING("{ " NETWORK ", \"port\": 65535 }"),
	MAPPING("{ \"network\": \"iface:fifteen-bytes-x\", \"port\": 1 }"),
};

START_TEST(valid_table)
{
	for (size_t i = 0; i < COUNT(valid_files); i++) {
		dir_write("rules.d/a.json", valid_files[i]);
		read_rules();
		ck_assert_msg(rules.files[0].valid, "%s: %s", valid_files[i],
			      rules.files[0].error ? rules.files[0].error->message : "");
	}
}
END_TEST

struct invalid {
	const char *text;
	unsigned int line;
	const char *key;
	const char *says;
};

static const struct invalid invalid_files[] = {
	/* No JSON */
	{ "", 0, "", "is empty" },
	{ " \n\t\r\n", 0, "", "is empty" },
	{ "\xef\xbb\xbf{\"mappings\":[]}", 1, "", "byte order mark" },
	{ "\xff\xfe{", 1, "", "must be an object" },
	{ "[]", 1, "", "must be an object" },
	{ "\n\"x\"", 2, "", "must be an object" },
	{ "null", 1, "", "must be an object" },
	{ "{", 1, "", "the file ends where a key" },
	{ "{\"mappings\"", 1, "", "a ':' is expected" },
	{ "{\"mappings\":", 1, "mappings", "a value is expected" },
	{ "{\"mappings\":[", 1, "mappings[0]", "must be an object" },
	{ "{\"mappings\":[]", 1, "mappings", "a ',' or '}' is expected" },
	{ "{\"mappings\":[]}x", 1, "", "the end of the file is expected, but there is a 'x'" },
	{ "{\"mappings\":[]}\n{}", 2, "", "the end of the file is expected" },
	{ "{\"mappings\":[]} // x", 1, "", "no comments" },
	{ "{\"mappings\":[],}", 1, "mappings", "stands before the closing '}'" },
	{ "{,}", 1, "", "a key in double quotes" },
	{ "{'mappings':[]}", 1, "", "quotes with '\"'" },
	{ "{mappings:[]}", 1, "", "a key in double quotes" },
	{ "{\"mappings\"=[]}", 1, "", "a ':' is expected" },
	{ MAPPING("{ " NETWORK " \"port\": 80 }"), 1, "mappings[0].network", "a ',' or '}'" },
	{ WITH_PORT("") "}", 1, "", "the end of the file" },
	{ MAPPING("{ " NETWORK ",\n \"port\": 80 },\n"), 3, "mappings[0]",
	  "stands before the closing ']'" },
	{ MAPPING("{ " NETWORK ",\n \"port\": 80 }\n{}"), 3, "mappings[0]", "a ',' or ']'" },
	{ "{\"mappings\":[]\x01}", 1, "mappings", "the byte 0x01" },
	/* Strings */
	{ "{\"mappings", 1, "", "ends within a string" },
	{ WITH_PORT(",\n\"comment\": \"a\nb\""), 2, "mappings[0].comment", "not closed" },
	{ WITH_PORT(", \"comment\": \"a\tb\""), 1, "mappings[0].comment", "0x09" },
	{ WITH_PORT(", \"comment\": \"\\u0000\""), 1, "mappings[0].comment", "\\u0000" },
	{ WITH_PORT(", \"comment\": \"\\ud83d\""), 1, "mappings[0].comment", "\\ud83d" },
	{ WITH_PORT(", \"comment\": \"\\ud83d\\u0041\""), 1, "mappings[0].comment", "\\ud83d" },
	{ WITH_PORT(", \"comment\": \"\\ude00\""), 1, "mappings[0].comment", "surrogate" },
	{ WITH_PORT(", \"comment\": \"\\u12g4\""), 1, "mappings[0].comment", "hexadecimal" },
	{ WITH_PORT(", \"comment\": \"\\x41\""), 1, "mappings[0].comment", "backslash" },
	{ WITH_PORT(", \"comment\": \"\xff\""), 1, "mappings[0].comment", "0xff" },
	{ WITH_PORT(", \"comment\": \"\xc3\""), 1, "mappings[0].comment", "no UTF-8" },
	{ WITH_PORT(", \"comment\": \"\xc0\x80\""), 1, "mappings[0].comment", "no UTF-8" },
	{ WITH_PORT(", \"comment\": \"\xed\xa0\x80\""), 1, "mappings[0].comment", "no UTF-8" },
	{ WITH_PORT(", \"comment\": \"\xf4\x90\x80\x80\""), 1, "mappings[0].comment", "no UTF-8" },
	{ WITH_PORT(", \"comment\": \"\xe0\x9f\xbf\""), 1, "mappings[0].comment", "no UTF-8" },
	{ WITH_PORT(", \"comment\": \"\xf0\x8f\xbf\xbf\""), 1, "mappings[0].comment", "no UTF-8" },
	{ WITH_PORT(", \"comment\": \"\xe2\x28\xa1\""), 1, "mappings[0].comment", "no UTF-8" },
	{ WITH_PORT(", \"comment\": \"\xe2\x82\x28\""), 1, "mappings[0].comment", "no UTF-8" },
	{ WITH_PORT(", \"comment\": \"\\n\""), 1, "mappings[0].comment", "control character" },
	{ WITH_PORT(", \"comment\": \"\x7f\""), 1, "mappings[0].comment", "control character" },
	{ WITH_PORT(", \"comment\": \"\xc2\x85\""), 1, "mappings[0].comment", "control" },
	/* Depth */
	{ "{\"x\":{\"x\":{}}}", 1, "x", "unknown key" },
	{ "{\"version\":[[[[[[[[]]]]]]]]}", 1, "version[0]", "deeper than 8" },
	{ "{\"version\":[[[[[[[]]]]]]]}", 1, "version", "must be the number 1" },
	/* Keys */
	{ "{}", 1, "", "\"mappings\" is missing" },
	{ "{\"version\":1}", 1, "", "\"mappings\" is missing" },
	{ "{\"mappings\":[],\n\"mapings\":[]}", 2, "mapings", "did you mean \"mappings\"" },
	{ "{\"mappings\":[],\n\"mappings\":[]}", 2, "mappings", "twice" },
	{ "{\"mappings\":[],\n\"mapping\\u0073\":[]}", 2, "mappings", "twice" },
	{ "{\"version\":1,\"version\":1,\"mappings\":[]}", 1, "version", "twice" },
	{ MAPPING("{ " NETWORK ", \"port\": 80,\n\"port\": 80 }"), 2, "mappings[0].port", "twice" },
	{ MAPPING("{ " NETWORK ", \"Port\": 80 }"), 1, "mappings[0].Port", "mean \"port\"" },
	{ WITH_PORT(", \"nonsense\": 1"), 1, "mappings[0].nonsense", "unknown key" },
	{ WITH_PORT(", \"\": 1"), 1, "mappings[0]", "unknown key" },
	{ WITH_PORT(
		  ", \"a-key-that-is-a-lot-longer-than-any-key-that-we-know-and-so-it-is-cut\": 1"),
	  1, "mappings[0].a-key-that-is-a-lot-longer-than-any-key-that-we-know-and-so-it-",
	  "unknown key" },
	/* Version, schema */
	{ "{\"version\":2,\"mappings\":[]}", 1, "version", "it reads 1" },
	{ "{\"version\":1.0,\"mappings\":[]}", 1, "version", "1.0 is no version" },
	{ "{\"version\":\"1\",\"mappings\":[]}", 1, "version", "must be the number 1" },
	{ "{\"version\":01,\"mappings\":[]}", 1, "version", "01 is no number" },
	{ "{\"$schema\":1,\"mappings\":[]}", 1, "$schema", "must be a string" },
	{ "{\"mappings\":{}}", 1, "mappings", "must be an array" },
	{ "{\"mappings\":null}", 1, "mappings", "is null" },
	{ "{\"mappings\":[1]}", 1, "mappings[0]", "must be an object" },
	{ "{\"mappings\":[[]]}", 1, "mappings[0]", "must be an object" },
	/* Network */
	{ MAPPING("{ \"port\": 80 }"), 1, "mappings[0]", "\"network\" is missing" },
	{ MAPPING("{ \"network\": 1, \"port\": 80 }"), 1, "mappings[0].network", "a number" },
	{ MAPPING("{ \"network\": \"br0\", \"port\": 80 }"), 1, "mappings[0].network",
	  "iface:br0" },
	{ MAPPING("{ \"network\": \"\", \"port\": 80 }"), 1, "mappings[0].network", "empty" },
	{ MAPPING("{ \"network\": \"iface:\", \"port\": 80 }"), 1, "mappings[0].network", "empty" },
	{ MAPPING("{ \"network\": \"lxc:a\", \"port\": 80 }"), 1, "mappings[0].network", "prefix" },
	{ MAPPING("{ \"network\": \"iface:sixteen-bytes-xx\", \"port\": 80 }"), 1,
	  "mappings[0].network", "longer than 15" },
	{ MAPPING("{ \"network\": \"iface:a\\nb\", \"port\": 80 }"), 1, "mappings[0].network",
	  "control" },
	/* Port */
	{ MAPPING("\n{ " NETWORK " }"), 2, "mappings[0]", "\"port\" is missing" },
	{ MAPPING("{ " NETWORK ",\n\n\"port\": 0 }"), 3, "mappings[0].port",
	  "0 is not in 1-65535" },
	{ MAPPING("{ " NETWORK ", \"port\": 65536 }"), 1, "mappings[0].port", "65536 is not in" },
	{ MAPPING("{ " NETWORK ", \"port\": 70000 }"), 1, "mappings[0].port",
	  "70000 is not in 1-65535" },
	{ MAPPING("{ " NETWORK ", \"port\": 99999999999999999999 }"), 1, "mappings[0].port",
	  "not in" },
	{ MAPPING("{ " NETWORK ", \"port\": -1 }"), 1, "mappings[0].port", "-1 is not in" },
	{ MAPPING("{ " NETWORK ", \"port\": -0 }"), 1, "mappings[0].port", "-0 is not in" },
	{ MAPPING("{ " NETWORK ", \"port\": 80.0 }"), 1, "mappings[0].port", "plain integer" },
	{ MAPPING("{ " NETWORK ", \"port\": 8e1 }"), 1, "mappings[0].port", "plain integer" },
	{ MAPPING("{ " NETWORK ", \"port\": 1E3 }"), 1, "mappings[0].port", "plain integer" },
	{ MAPPING("{ " NETWORK ", \"port\": 080 }"), 1, "mappings[0].port", "no leading zero" },
	{ MAPPING("{ " NETWORK ", \"port\": +80 }"), 1, "mappings[0].port", "+80 is no number" },
	{ MAPPING("{ " NETWORK ", \"port\": 80. }"), 1, "mappings[0].port", "80. is no number" },
	{ MAPPING("{ " NETWORK ", \"port\": 1e }"), 1, "mappings[0].port", "1e is no number" },
	{ MAPPING("{ " NETWORK ", \"port\": - }"), 1, "mappings[0].port", "no number" },
	{ MAPPING("{ " NETWORK ", \"port\": 0x50 }"), 1, "mappings[0].port", "0x50 is no number" },
	{ MAPPING("{ " NETWORK ", \"port\": NaN }"), 1, "mappings[0].port", "NaN is no value" },
	{ MAPPING("{ " NETWORK ", \"port\": http }"), 1, "mappings[0].port", "quote it" },
	{ MAPPING("{ " NETWORK ", \"port\": \"80\" }"), 1, "mappings[0].port", "without quotes" },
	{ MAPPING("{ " NETWORK ", \"port\": [80] }"), 1, "mappings[0].port", "is an array" },
	{ MAPPING("{ " NETWORK ", \"port\": true }"), 1, "mappings[0].port", "is true" },
	/* The rest */
	{ WITH_PORT(", \"protocol\": \"TCP\""), 1, "mappings[0].protocol", "neither" },
	{ WITH_PORT(", \"protocol\": \"sctp\""), 1, "mappings[0].protocol", "neither" },
	{ WITH_PORT(", \"protocol\": 6"), 1, "mappings[0].protocol", "a number" },
	{ WITH_PORT(", \"protocol\": \"a-protocol-with-a-very-very-long-name\""), 1,
	  "mappings[0].protocol", "longer" },
	{ WITH_PORT(", \"protocol\": \"\\u0061-protocol-with-a-very-very-long-name\""), 1,
	  "mappings[0].protocol", "longer" },
	{ WITH_PORT(", \"target\": \"10.0.0.1:80\""), 1, "mappings[0].target", "outside 127" },
	{ WITH_PORT(", \"target\": \"127.255.255.255:80\""), 1, "mappings[0].target", "nothing" },
	{ WITH_PORT(", \"target\": \"[::1]:80\""), 1, "mappings[0].target", "IPv6" },
	{ WITH_PORT(", \"target\": \"127.0.0.1\""), 1, "mappings[0].target", "lacks a port" },
	{ WITH_PORT(", \"target\": 8080"), 1, "mappings[0].target", "must be a string" },
	{ WITH_PORT(", \"enabled\": \"no\""), 1, "mappings[0].enabled", "true or false" },
	{ WITH_PORT(", \"enabled\": 1"), 1, "mappings[0].enabled", "true or false" },
	{ WITH_PORT(", \"enabled\": True"), 1, "mappings[0].enabled", "True is no value" },
	{ WITH_PORT(", \"external\": null"), 1, "mappings[0].external", "is null" },
	{ WITH_PORT(", \"until\": \"tomorrow\""), 1, "mappings[0].until", "no time" },
	{ WITH_PORT(", \"until\": \"2026-02-30T00:00:00Z\""), 1, "mappings[0].until", "no time" },
	{ WITH_PORT(", \"until\": \"1970-01-01T00:00:00Z\""), 1, "mappings[0].until", "1970" },
	{ WITH_PORT(", \"until\": \"1960-01-01T00:00:00Z\""), 1, "mappings[0].until", "1970" },
	{ WITH_PORT(", \"until\": 1795412961"), 1, "mappings[0].until", "must be a string" },
	{ WITH_PORT(", \"comment\": null"), 1, "mappings[0].comment", "is null" },
	{ WITH_PORT(", \"comment\": {\"a\": [1, {}]}"), 1, "mappings[0].comment", "an object" },
	/* One key, two targets */
	{ MAPPING("{ " NETWORK ", \"port\": 80 },\n{ " NETWORK
		  ", \"port\": 80, \"target\": \"81\" }"),
	  2, "mappings[1]", "another target, 127.0.0.1:80, in a.json:1" },
	{ MAPPING("{ " NETWORK ", \"port\": 80 },\n{ " NETWORK ", \"port\": 80, "
		  "\"enabled\": false }"),
	  2, "mappings[1]", "\"enabled\"" },
	{ MAPPING("{ " NETWORK ", \"port\": 80 },\n{ " NETWORK ", \"port\": 80, "
		  "\"until\": \"2030-01-01T00:00:00Z\" }"),
	  2, "mappings[1]", "\"until\"" },
	{ MAPPING("{ " NETWORK ", \"port\": 80 },\n{ " NETWORK ", \"port\": 80, "
		  "\"external\": true }"),
	  2, "mappings[1]", "\"external\"" },
};

START_TEST(invalid_table)
{
	for (size_t i = 0; i < COUNT(invalid_files); i++) {
		const struct invalid *row = &invalid_files[i];
		const struct nb_error *error;

		dir_write("rules.d/a.json", row->text);
		read_rules();
		ck_assert_uint_eq(rules.file_count, 1);
		ck_assert_msg(!rules.files[0].valid, "accepted: %s", row->text);
		ck_assert_ptr_eq(nb_rules_invalid(&rules), &rules.files[0]);
		ck_assert_uint_eq(rules.mappings.count, 0);
		ck_assert_uint_eq(rules.repeated.count, 0);
		ck_assert_uint_eq(rules.files[0].mappings, 0);
		error = rules.files[0].error;
		ck_assert_int_eq(error->status, NB_STATUS_USAGE);
		ck_assert_str_eq(error->code, "rule-file");
		ck_assert_str_eq(error->file, "rules.d/a.json");
		ck_assert_msg(error->line == row->line, "%s: line %u: %s", row->text, error->line,
			      error->message);
		ck_assert_msg(!strcmp(error->key, row->key), "%s: key %s: %s", row->text,
			      error->key, error->message);
		ck_assert_msg(strstr(error->message, row->says) != NULL, "%s: %s", row->text,
			      error->message);
	}
}
END_TEST

/* A NUL cannot stand in the tables. */
START_TEST(nul_bytes_are_refused)
{
	static const char texts[][24] = { "{\"mappings\":[]}\0", "{\"mappings\":[\0]}",
					  "{\"mapp\0ings\":[]}", "\0{\"mappings\":[]}" };
	static const size_t lengths[] = { 16, 16, 16, 16 };

	for (size_t i = 0; i < COUNT(lengths); i++) {
		dir_write_bytes("rules.d/a.json", texts[i], lengths[i]);
		read_rules();
		ck_assert_msg(!rules.files[0].valid, "%zu", i);
	}
}
END_TEST

START_TEST(comment_limit)
{
	char text[1024];
	char comment[300];

	for (int length = 255; length <= 256; length++) {
		memset(comment, 'x', sizeof(comment));
		comment[length] = '\0';
		snprintf(text, sizeof(text), WITH_PORT(", \"comment\": \"%s\""), comment);
		dir_write("rules.d/a.json", text);
		read_rules();
		ck_assert_int_eq(rules.files[0].valid, length == 255);
		/* The same behind an escape, which cJSON decodes. */
		snprintf(text, sizeof(text), WITH_PORT(", \"comment\": \"\\u0041%s\""),
			 comment + 1);
		dir_write("rules.d/a.json", text);
		read_rules();
		ck_assert_int_eq(rules.files[0].valid, length == 255);
	}
}
END_TEST

START_TEST(network_name_limit)
{
	char text[1024];
	char name[100];

	for (int length = 95; length <= 96; length++) {
		memset(name, 'n', sizeof(name));
		name[length] = '\0';
		snprintf(text, sizeof(text), MAPPING("{ \"network\": \"docker:%s\", \"port\": 1 }"),
			 name);
		dir_write("rules.d/a.json", text);
		read_rules();
		ck_assert_int_eq(rules.files[0].valid, length == 95);
	}
}
END_TEST

/* Whatever becomes of a valid file, the reader says yes or no, and says where. */
START_TEST(mutated_files)
{
	static const char seed[] =
		"{ \"$schema\": \"s\", \"version\": 1, \"mappings\": [\n"
		"{ \"network\": \"docker:a\", \"port\": 80, \"protocol\": \"udp\",\n"
		"\"target\": \"127.0.0.1:5432\", \"enabled\": false, \"comment\": "
		"\"\\u00e4\xc3\xbc\","
		" \"until\": \"2026-11-23T05:49:21Z\", \"external\": true },\n"
		"{ \"network\": \"iface:br0\", \"port\": 81 } ] }";
	static const char spice[] = "{}[]\",:\\/u0189.-+eE \n\tntf\x01\x7f\x80\xc3\xed\xff";
	unsigned int state = 1;
	size_t accepted = 0;

	for (int round = 0; round < 6000; round++) {
		char text[sizeof(seed) + 8];
		size_t length = sizeof(seed) - 1;
		unsigned int edits = 1 + round % 3;

		memcpy(text, seed, sizeof(seed));
		while (edits--) {
			size_t at;
			char c;

			state = state * 1103515245u + 12345u;
			at = (state >> 8) % length;
			c = spice[(state >> 20) % sizeof(spice)]; /* its NUL, too */
			switch (state >> 30) {
			case 0:
				memmove(text + at, text + at + 1, length - at - 1);
				length--;
				break;
			case 1:
				memmove(text + at + 1, text + at, length - at);
				text[at] = c;
				length++;
				break;
			default:
				text[at] = c;
			}
		}
		dir_write_bytes("rules.d/a.json", text, length);
		read_rules();
		if (rules.files[0].valid) {
			accepted++;
		} else {
			ck_assert_str_ne(rules.files[0].error->message, "");
			ck_assert_uint_eq(rules.mappings.count, 0);
		}
	}
	/* Changes within the comment are harmless: both outcomes occur. */
	ck_assert_uint_gt(accepted, 50);
	ck_assert_uint_lt(accepted, 3000);
}
END_TEST

/* All tests here run in a directory of their own. */
static void add(Suite *suite, const char *name, const TTest *test)
{
	unit_add_between(suite, name, test, setup, teardown);
}

int main(void)
{
	Suite *suite = suite_create("rule files");

	add(suite, "valid_table", valid_table);
	add(suite, "invalid_table", invalid_table);
	add(suite, "nul_bytes_are_refused", nul_bytes_are_refused);
	add(suite, "comment_limit", comment_limit);
	add(suite, "network_name_limit", network_name_limit);
	add(suite, "mutated_files", mutated_files);
	return unit_run(suite);
}
