/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The configuration and the presets. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dir.h"
#include "nat-bridge/rules.h"
#include "unit.h"

static struct nb_error err;

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
	ck_assert_int_eq(nb_config_read(".", &config, &err), -EINVAL);
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
	ck_assert_str_eq(nb_preset_find("mariadb")->name, "mysql");
	ck_assert_str_eq(nb_preset_find("valkey")->name, "redis");
	ck_assert_str_eq(nb_preset_find("postgres")->name, "postgresql");
	ck_assert_str_eq(nb_preset_find("pg")->name, "postgresql");
	for (size_t i = 0; i < nb_preset_count; i++) {
		const struct nb_preset *preset = &nb_presets[i];
		struct nb_port_spec spec;

		ck_assert_ptr_eq(nb_preset_find(preset->name), preset);
		ck_assert(!i || strcmp(nb_presets[i - 1].name, preset->name) < 0);
		ck_assert_int_eq(nb_port_parse(preset->name, &spec, NULL), -EINVAL);
		for (size_t j = 0; j < NB_PRESET_ALIASES && preset->aliases[j]; j++)
			ck_assert_ptr_eq(nb_preset_find(preset->aliases[j]), preset);
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
	unit_add_between(suite, name, test, dir_enter, dir_leave);
}

int main(void)
{
	Suite *suite = suite_create("config");

	add(suite, "config_values", config_values);
	add(suite, "config_files", config_files);
	add(suite, "presets", presets);
	return unit_run(suite);
}
