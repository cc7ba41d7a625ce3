/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading rule files, the configuration and the presets. */
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

START_TEST(missing_and_empty_directory)
{
	ck_assert_int_eq(nb_rules_read("nowhere/rules.d", &rules, &warnings, &err), 0);
	ck_assert(!rules.present);
	ck_assert_uint_eq(rules.file_count, 0);
	read_rules();
	ck_assert(rules.present);
	ck_assert_uint_eq(rules.file_count, 0);
	ck_assert_ptr_null(nb_rules_invalid(&rules));
}
END_TEST

START_TEST(reads_all_that_a_file_can_say)
{
	const struct nb_mapping *mapping;
	struct nb_network network;
	char target[NB_TARGET_SIZE];

	dir_write("rules.d/a.json", "{\n"
				    "  \"$schema\": \"x\\/y\",\n"
				    "  \"version\": 1,\n"
				    "  \"mappings\": [\n"
				    "    { \"network\": \"docker:agents\", \"port\": 11434 },\n"
				    "    {\n"
				    "      \"comment\": \"R\\u00e4G \\ud83d\\ude00 \\\"x\\\"\",\n"
				    "      \"external\": true,\n"
				    "      \"until\": \"2026-11-23T06:49:21+01:00\",\n"
				    "      \"enabled\": false,\n"
				    "      \"target\": \"127.0.0.54:5353\",\n"
				    "      \"protocol\": \"udp\",\n"
				    "      \"po\\u0072t\": 53,\n"
				    "      \"network\": \"iface:br0\"\n"
				    "    }\n"
				    "  ]\n"
				    "}\n");
	dir_write("rules.d/.hidden.json", "not read");
	dir_write("rules.d/notes.txt", "not read");
	dir_write("rules.d/.json", "not read");
	read_rules();
	ck_assert_uint_eq(rules.file_count, 1);
	ck_assert_msg(rules.files[0].valid, "%s",
		      rules.files[0].error ? rules.files[0].error->message : "");
	ck_assert_uint_eq(rules.files[0].mappings, 2);
	ck_assert_str_eq(rules.files[0].schema, "x/y");
	ck_assert_uint_eq(rules.mappings.count, 2);
	ck_assert_uint_eq(warnings.count, 0);

	ck_assert_int_eq(nb_network_parse("docker:agents", &network, NULL), 0);
	mapping = nb_rules_find(&rules, &network, IPPROTO_TCP, 11434);
	ck_assert_ptr_nonnull(mapping);
	ck_assert_str_eq(nb_target_format(&mapping->target, target), "127.0.0.1:11434");
	ck_assert(mapping->enabled && !mapping->external && !mapping->runtime);
	ck_assert_int_eq(mapping->until, 0);
	ck_assert_ptr_null(mapping->comment);
	ck_assert_uint_eq(mapping->line, 5);
	ck_assert_ptr_null(nb_rules_find(&rules, &network, IPPROTO_UDP, 11434));

	ck_assert_int_eq(nb_network_parse("iface:br0", &network, NULL), 0);
	mapping = nb_rules_find(&rules, &network, IPPROTO_UDP, 53);
	ck_assert_ptr_nonnull(mapping);
	ck_assert_str_eq(nb_target_format(&mapping->target, target), "127.0.0.54:5353");
	ck_assert(!mapping->enabled && mapping->external);
	ck_assert_int_eq(mapping->until, 1795412961);
	ck_assert_str_eq(mapping->comment, "RäG 😀 \"x\"");
	ck_assert_uint_eq(mapping->line, 6);
	ck_assert_uint_eq(mapping->file, 0);
}
END_TEST

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
	{ "{\"mappings\":[],}", 1, "", "a key in double quotes" },
	{ "{,}", 1, "", "a key in double quotes" },
	{ "{'mappings':[]}", 1, "", "quotes with '\"'" },
	{ "{mappings:[]}", 1, "", "a key in double quotes" },
	{ "{\"mappings\"=[]}", 1, "", "a ':' is expected" },
	{ MAPPING("{ " NETWORK " \"port\": 80 }"), 1, "mappings[0].network", "a ',' or '}'" },
	{ WITH_PORT("") "}", 1, "", "the end of the file" },
	{ MAPPING("{ " NETWORK ",\n \"port\": 80 },\n"), 3, "mappings[1]", "must be an object" },
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
	{ "{\"version\":[[[[[[[]]]]]]]}", 1, "version", "no version" },
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
	{ "{\"version\":\"1\",\"mappings\":[]}", 1, "version", "no version" },
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
	  "0 is not in 1–65535" },
	{ MAPPING("{ " NETWORK ", \"port\": 65536 }"), 1, "mappings[0].port", "65536 is not in" },
	{ MAPPING("{ " NETWORK ", \"port\": 70000 }"), 1, "mappings[0].port",
	  "70000 is not in 1–65535" },
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

START_TEST(same_mapping_twice_merges)
{
	dir_write("rules.d/a.json", WITH_PORT(", \"comment\": \"first\""));
	dir_write("rules.d/b.json", WITH_PORT(", \"comment\": \"second\""));
	dir_write("rules.d/c.json",
		  MAPPING("{ " NETWORK ", \"port\": 81 }, { " NETWORK ", \"port\": 81 }"));
	read_rules();
	ck_assert_ptr_null(nb_rules_invalid(&rules));
	ck_assert_uint_eq(rules.mappings.count, 2);
	ck_assert_uint_eq(rules.repeated.count, 2);
	ck_assert_str_eq(rules.mappings.items[0].comment, "first");
	ck_assert_uint_eq(warnings.count, 2);
	ck_assert_str_eq(warnings.items[0],
			 "b.json:1: iface:br0 80/tcp is already in a.json:1; one of them can go");
}
END_TEST

START_TEST(many_repetitions_are_counted)
{
	FILE *stream = fopen("rules.d/a.json", "w");

	ck_assert_ptr_nonnull(stream);
	fputs("{\"mappings\":[", stream);
	for (int i = 0; i < 20000; i++)
		fprintf(stream, "%s\n{ " NETWORK ", \"port\": 80 }", i ? "," : "");
	fputs("]}", stream);
	fclose(stream);
	read_rules();
	ck_assert_uint_eq(rules.mappings.count, 1);
	ck_assert_uint_eq(rules.repeated.count, 19999);
	ck_assert_uint_eq(warnings.count, 9);
	ck_assert_str_eq(warnings.items[8],
			 "19999 mappings occur more than once in the rule files");
}
END_TEST

START_TEST(later_file_of_a_conflict_is_invalid)
{
	const struct nb_error *error;

	dir_write("rules.d/b.json",
		  MAPPING("{ " NETWORK ", \"port\": 79 },\n{ " NETWORK ", \"port\": 80, "
			  "\"target\": \"81\" },\n{ " NETWORK ", \"port\": 82 }"));
	dir_write("rules.d/a.json", "\n" WITH_PORT(""));
	dir_write("rules.d/c.json", MAPPING("{ " NETWORK ", \"port\": 79, \"target\": \"1\" }"));
	read_rules();
	ck_assert(rules.files[0].valid);
	ck_assert(!rules.files[1].valid);
	/* Nothing of the invalid file stands in anybody's way. */
	ck_assert(rules.files[2].valid);
	ck_assert_uint_eq(rules.mappings.count, 2);
	error = nb_rules_invalid(&rules)->error;
	ck_assert_str_eq(error->file, "rules.d/b.json");
	ck_assert_uint_eq(error->line, 2);
	ck_assert_str_eq(error->key, "mappings[1]");
	ck_assert_ptr_nonnull(strstr(error->message, "127.0.0.1:80, in a.json:2"));
}
END_TEST

START_TEST(files_are_read_in_name_order)
{
	static const char *const names[] = { "z", "A", "10", "9", "b" };
	static const char *const sorted[] = { "10.json", "9.json", "A.json", "b.json", "z.json" };
	char path[64];

	for (size_t i = 0; i < COUNT(names); i++) {
		snprintf(path, sizeof(path), "rules.d/%s.json", names[i]);
		dir_write(path, "{\"mappings\":[]}");
	}
	dir_write("rules.d/.b.json.gone", "");
	dir_write("rules.d/.a.json.gone", "");
	dir_write("rules.d/.a.json.new", "");
	dir_write("rules.d/.gone", "");
	dir_write("rules.d/.x.txt.gone", "");
	read_rules();
	ck_assert_uint_eq(rules.file_count, COUNT(sorted));
	for (size_t i = 0; i < COUNT(sorted); i++)
		ck_assert_str_eq(rules.files[i].name, sorted[i]);
	ck_assert_uint_eq(rules.unfinished_count, 2);
	ck_assert_str_eq(rules.unfinished[0], "a.json");
	ck_assert_str_eq(rules.unfinished[1], "b.json");
}
END_TEST

static void expect_refused(const char *says)
{
	read_rules();
	ck_assert_uint_eq(rules.file_count, 1);
	ck_assert(!rules.files[0].valid);
	ck_assert_int_eq(rules.files[0].error->status, NB_STATUS_USAGE);
	ck_assert_str_eq(rules.files[0].error->file, "rules.d/a.json");
	ck_assert_msg(strstr(rules.files[0].error->message, says) != NULL, "%s",
		      rules.files[0].error->message);
}

START_TEST(what_is_no_regular_file)
{
	struct nb_network network;

	ck_assert_int_eq(nb_network_parse("iface:br0", &network, NULL), 0);
	ck_assert_int_eq(mkdir("rules.d/a.json", 0755), 0);
	expect_refused("a directory");
	ck_assert(!nb_rules_invalid_mentions(&rules, &rules.files[0], &network, 80));
	ck_assert_int_eq(rmdir("rules.d/a.json"), 0);
	/* Without a writer, reading would wait for ever. */
	ck_assert_int_eq(mkfifo("rules.d/a.json", 0644), 0);
	expect_refused("a named pipe");
	ck_assert(!nb_rules_invalid_mentions(&rules, &rules.files[0], &network, 80));
	ck_assert_int_eq(unlink("rules.d/a.json"), 0);
	ck_assert_int_eq(symlink("/dev/null", "rules.d/a.json"), 0);
	expect_refused("a device or a socket");
	ck_assert_int_eq(unlink("rules.d/a.json"), 0);
	ck_assert_int_eq(symlink("nowhere", "rules.d/a.json"), 0);
	expect_refused("link to nothing");
	ck_assert(!nb_rules_invalid_mentions(&rules, &rules.files[0], &network, 80));
	ck_assert_int_eq(unlink("rules.d/a.json"), 0);
	ck_assert_int_eq(symlink("a.json", "rules.d/a.json"), 0);
	expect_refused("circle");
}
END_TEST

START_TEST(links_are_judged_by_their_target)
{
	dir_write("elsewhere", WITH_PORT(""));
	ck_assert_int_eq(symlink("../elsewhere", "rules.d/a.json"), 0);
	read_rules();
	ck_assert(rules.files[0].valid);
	ck_assert_int_eq(chmod("elsewhere", 0664), 0);
	expect_refused("written by its group");
}
END_TEST

START_TEST(untrusted_files)
{
	dir_write("rules.d/a.json", WITH_PORT(""));
	ck_assert_int_eq(chmod("rules.d/a.json", 0620), 0);
	expect_refused("its group");
	ck_assert_int_eq(chmod("rules.d/a.json", 0602), 0);
	expect_refused("everybody");
	ck_assert_int_eq(chmod("rules.d/a.json", 0600), 0);
	read_rules();
	ck_assert(rules.files[0].valid);
	if (geteuid() == 0) {
		ck_assert_int_eq(chown("rules.d/a.json", 12345, (gid_t)-1), 0);
		expect_refused("belongs to user 12345");
	}
}
END_TEST

START_TEST(unreadable_as_somebody_else)
{
	struct nb_network network;

	if (geteuid() != 0)
		return;
	ck_assert_int_eq(nb_network_parse("iface:br0", &network, NULL), 0);
	dir_write("rules.d/a.json", WITH_PORT(""));
	ck_assert_int_eq(chmod("rules.d/a.json", 0600), 0);
	ck_assert_int_eq(chmod(".", 0755), 0);
	ck_assert_int_eq(seteuid(65534), 0);
	expect_refused("permission denied; run it as root");
	ck_assert(nb_rules_invalid_mentions(&rules, &rules.files[0], &network, 80));
	ck_assert_int_eq(seteuid(0), 0);
	ck_assert_int_eq(chmod("rules.d", 0700), 0);
	ck_assert_int_eq(seteuid(65534), 0);
	nb_rules_clear(&rules);
	ck_assert_int_eq(nb_rules_read("rules.d", &rules, &warnings, &err), -EACCES);
	ck_assert_int_eq(err.status, NB_STATUS_FAILED);
	ck_assert_int_eq(seteuid(0), 0);
}
END_TEST

START_TEST(untrusted_directories)
{
	static const mode_t modes[] = { 0775, 0757, 01777 };

	for (size_t i = 0; i < COUNT(modes); i++) {
		ck_assert_int_eq(chmod("rules.d", modes[i]), 0);
		ck_assert_int_eq(nb_rules_read("rules.d", &rules, &warnings, &err), -EPERM);
		ck_assert_int_eq(err.status, NB_STATUS_FAILED);
		ck_assert_ptr_nonnull(strstr(err.message, "chmod go-w"));
		ck_assert_ptr_null(rules.files);
	}
	ck_assert_int_eq(chmod("rules.d", 0755), 0);
	if (geteuid() == 0) {
		ck_assert_int_eq(chown("rules.d", 12345, (gid_t)-1), 0);
		ck_assert_int_eq(nb_rules_read("rules.d", &rules, &warnings, &err), -EPERM);
		ck_assert_ptr_nonnull(strstr(err.message, "user 12345"));
		ck_assert_int_eq(chown("rules.d", 0, (gid_t)-1), 0);
	}
	/* Its parents are none of our business. */
	ck_assert_int_eq(chmod(".", 0777), 0);
	read_rules();
	dir_write("file", "");
	nb_rules_clear(&rules);
	ck_assert_int_eq(nb_rules_read("file", &rules, &warnings, &err), -ENOTDIR);
}
END_TEST

START_TEST(too_large)
{
	dir_write("rules.d/a.json", WITH_PORT(""));
	ck_assert_int_eq(truncate("rules.d/a.json", ((off_t)64 << 20) + 1), 0);
	expect_refused("larger than 64 MiB");
}
END_TEST

START_TEST(mentions)
{
	static const struct {
		const char *text;
		bool mentions; /* iface:br0, 80 */
	} rows[] = {
		{ "{ \"network\": \"iface:br0\", \"port\": 80, }", true },
		{ "br0 80", true },
		{ "80br0", true },
		{ "br0 0080", true },
		{ "br0 80.0", true },
		{ "br0 8080 80", true },
		{ "br0 8080", false },
		{ "br0 800", false },
		{ "br0 180", false },
		{ "br0 1080", false },
		{ "br1 80", false },
		{ "x", false },
	};
	struct nb_network network;

	ck_assert_int_eq(nb_network_parse("iface:br0", &network, NULL), 0);
	for (size_t i = 0; i < COUNT(rows); i++) {
		dir_write("rules.d/a.json", rows[i].text);
		read_rules();
		ck_assert(!rules.files[0].valid);
		ck_assert_msg(nb_rules_invalid_mentions(&rules, &rules.files[0], &network, 80) ==
				      rows[i].mentions,
			      "%s", rows[i].text);
	}
	dir_write("rules.d/a.json", "");
	read_rules();
	ck_assert(!nb_rules_invalid_mentions(&rules, &rules.files[0], &network, 80));
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

/* Configuration */

START_TEST(config_values)
{
	static const struct {
		const char *text;
		uint32_t mark; /* 0: refused */
		const char *says;
	} rows[] = {
		{ "{}", NB_MARK_DEFAULT, NULL },
		{ "{\"mark\": 1}", 1, NULL },
		{ "{\"mark\": 4294967295}", UINT32_MAX, NULL },
		{ "{\"mark\": \"0x10000000\"}", 0x10000000, NULL },
		{ "{\"mark\": \"0XfFfFfFfF\"}", UINT32_MAX, NULL },
		{ "{\"mark\": \"0x00000001\"}", 1, NULL },
		{ "{\"mark\": \"256\"}", 256, NULL },
		{ "{\"mark\": 0}", 0, "0 is no mark" },
		{ "{\"mark\": \"0x0\"}", 0, "0x0 is no mark" },
		{ "{\"mark\": \"0\"}", 0, "no mark" },
		{ "{\"mark\": \"010\"}", 0, "no mark" },
		{ "{\"mark\": \"0x\"}", 0, "no mark" },
		{ "{\"mark\": \"\"}", 0, "no mark" },
		{ "{\"mark\": \"0x1g\"}", 0, "no mark" },
		{ "{\"mark\": \"ff\"}", 0, "no mark" },
		{ "{\"mark\": \"0x100000000\"}", 0, "no mark" },
		{ "{\"mark\": 4294967296}", 0, "no mark" },
		{ "{\"mark\": -1}", 0, "no mark" },
		{ "{\"mark\": 1.0}", 0, "no mark" },
		{ "{\"mark\": 1e3}", 0, "no mark" },
		{ "{\"mark\": 0x10}", 0, "0x10 is no number" },
		{ "{\"mark\": true}", 0, "must be a number" },
		{ "{\"mark\": \"0x000000000000000000000001\"}", 0, "no mark" },
		{ "{\"mark\": 1, \"mark\": 1}", 0, "twice" },
		{ "{\"marks\": 1}", 0, "did you mean \"mark\"" },
		{ "{\"mark\": 1} x", 0, "end of the file" },
		{ "[]", 0, "must be an object" },
		{ "", 0, "is empty" },
	};
	struct nb_config config;

	for (size_t i = 0; i < COUNT(rows); i++) {
		int r;

		dir_write("config.json", rows[i].text);
		config.mark = 7;
		r = nb_config_read("config.json", &config, &err);
		ck_assert_msg(r == (rows[i].mark ? 0 : -EINVAL), "%s", rows[i].text);
		ck_assert_uint_eq(config.mark, rows[i].mark ? rows[i].mark : 7);
		if (r) {
			ck_assert_int_eq(err.status, NB_STATUS_USAGE);
			ck_assert_str_eq(err.file, "config.json");
			ck_assert_msg(strstr(err.message, rows[i].says) != NULL, "%s: %s",
				      rows[i].text, err.message);
		}
	}
	dir_write("config.json", "{\n\n\"mark\": 0}");
	ck_assert_int_eq(nb_config_read("config.json", &config, &err), -EINVAL);
	ck_assert_uint_eq(err.line, 3);
	ck_assert_str_eq(err.key, "mark");
}
END_TEST

START_TEST(config_files)
{
	struct nb_config config = { .mark = 7 };

	ck_assert_int_eq(nb_config_read("nowhere/config.json", &config, &err), 0);
	ck_assert_uint_eq(config.mark, NB_MARK_DEFAULT);
	dir_write("config.json", "{}");
	ck_assert_int_eq(chmod("config.json", 0666), 0);
	ck_assert_int_eq(nb_config_read("config.json", &config, &err), -EPERM);
	ck_assert_int_eq(err.status, NB_STATUS_USAGE);
	ck_assert_int_eq(nb_config_read("rules.d", &config, &err), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.message, "a directory"));
}
END_TEST

/* Presets */

START_TEST(presets)
{
	static const char *const wanted[] = {
		"elasticsearch", "http",   "litellm",  "lm-studio",  "mcp",	 "mongodb", "mysql",
		"n8n",		 "ollama", "openclaw", "postgresql", "rabbitmq", "redis",   "vllm"
	};

	for (size_t i = 0; i < COUNT(wanted); i++)
		ck_assert_msg(nb_preset_find(wanted[i]) != NULL, "%s", wanted[i]);
	ck_assert_uint_eq(nb_preset_find("ollama")->ports[0].port, 11434);
	ck_assert_ptr_null(nb_preset_find("olama"));
	ck_assert_ptr_null(nb_preset_find(""));
	for (size_t i = 0; i < nb_preset_count; i++) {
		const struct nb_preset *preset = &nb_presets[i];
		struct nb_port_spec spec;

		ck_assert_ptr_eq(nb_preset_find(preset->name), preset);
		ck_assert(!i || strcmp(nb_presets[i - 1].name, preset->name) < 0);
		ck_assert_int_eq(nb_port_parse(preset->name, &spec, NULL), -EINVAL);
		ck_assert_str_ne(preset->title, "");
		ck_assert_uint_gt(strlen(preset->note), 40);
		ck_assert(preset->port_count >= 1 && preset->port_count <= NB_PRESET_PORTS);
		for (size_t j = 0; j < preset->port_count; j++)
			ck_assert_uint_ne(preset->ports[j].port, 0);
	}
}
END_TEST

/* All tests here run in a directory of their own. */
static void add(Suite *suite, const char *name, const TTest *test)
{
	TCase *tcase = tcase_create(name);

	tcase_set_timeout(tcase, 60);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_add_test(tcase, test);
	suite_add_tcase(suite, tcase);
}

int main(void)
{
	Suite *suite = suite_create("rules");

	add(suite, "missing_and_empty_directory", missing_and_empty_directory);
	add(suite, "reads_all_that_a_file_can_say", reads_all_that_a_file_can_say);
	add(suite, "valid_table", valid_table);
	add(suite, "invalid_table", invalid_table);
	add(suite, "nul_bytes_are_refused", nul_bytes_are_refused);
	add(suite, "comment_limit", comment_limit);
	add(suite, "network_name_limit", network_name_limit);
	add(suite, "same_mapping_twice_merges", same_mapping_twice_merges);
	add(suite, "many_repetitions_are_counted", many_repetitions_are_counted);
	add(suite, "later_file_of_a_conflict_is_invalid", later_file_of_a_conflict_is_invalid);
	add(suite, "files_are_read_in_name_order", files_are_read_in_name_order);
	add(suite, "what_is_no_regular_file", what_is_no_regular_file);
	add(suite, "links_are_judged_by_their_target", links_are_judged_by_their_target);
	add(suite, "untrusted_files", untrusted_files);
	add(suite, "unreadable_as_somebody_else", unreadable_as_somebody_else);
	add(suite, "untrusted_directories", untrusted_directories);
	add(suite, "too_large", too_large);
	add(suite, "mentions", mentions);
	add(suite, "mutated_files", mutated_files);
	add(suite, "config_values", config_values);
	add(suite, "config_files", config_files);
	add(suite, "presets", presets);
	return unit_run(suite);
}
