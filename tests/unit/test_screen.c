/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Cells and tables: what fits, what is cut, and that nothing drives a terminal. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "cli/screen.h"
#include "unit.h"

static const struct nb_screen utf8 = { .terminal = true, .utf8 = true, .width = 40 };
static const struct nb_screen ascii = { .terminal = true, .width = 40 };
static const struct nb_screen pipe_end = { .width = SIZE_MAX };

START_TEST(widths)
{
	static const struct {
		const char *text;
		size_t columns;
	} cases[] = {
		{ "", 0 },	    { "abc", 3 }, { "é", 1 },
		{ "e\xcc\x81", 1 }, /* e and an accent of its own */
		{ "日本", 4 },	    { "🐋", 2 },	  { "\xff\xfe", 2 }, /* no UTF-8 */
		{ "\xc3", 1 },					     /* half a character */
		{ "a\033[31m", 6 }, /* control characters are seen */
	};

	for (size_t i = 0; i < COUNT(cases); i++)
		ck_assert_msg(nb_text_columns(cases[i].text) == cases[i].columns, "%zu: %zu", i,
			      nb_text_columns(cases[i].text));
}
END_TEST

START_TEST(cutting)
{
	static const struct {
		const struct nb_screen *screen;
		const char *text;
		size_t columns;
		const char *shown;
	} cases[] = {
		{ &utf8, "abcdef", 6, "abcdef" },
		{ &utf8, "abcdef", 5, "abcd…" },
		{ &utf8, "abcdef", 1, "…" },
		{ &utf8, "abcdef", 0, "" },
		{ &utf8, "", 5, "" },
		{ &ascii, "abcdef", 5, "abcd~" },
		{ &pipe_end, "abcdef", 5, "abcd~" },
		{ &pipe_end, "äbc", SIZE_MAX, "äbc" },
		{ &ascii, "äbc", 5, "?bc" },
		{ &ascii, "e\xcc\x81t", 5, "et" },
		{ &utf8, "日本語", 6, "日本語" },
		{ &utf8, "日本語", 5, "日本…" },
		{ &utf8, "日本語", 4, "日…" }, /* no half of a wide one */
		{ &utf8, "日本語", 3, "日…" },
		{ &utf8, "ééé", 2, "é…" },
		{ &utf8, "a\nb\033c\x7f", 9, "a?b?c?" },
		{ &utf8,
		  "\xc2\x9b"
		  "31m",
		  9, "?31m" }, /* CSI as one character */
		{ &utf8,
		  "a\xe2\x80\xae"
		  "b",
		  9, "a?b" }, /* turns the direction */
		{ &utf8, "\xe6\x97", 9, "??" },
		{ &pipe_end, "x\xff", 9, "x?" },
	};
	char shown[64];

	for (size_t i = 0; i < COUNT(cases); i++) {
		size_t columns = nb_text_cut(cases[i].screen, cases[i].text, cases[i].columns,
					     shown, sizeof(shown));

		ck_assert_msg(strcmp(shown, cases[i].shown) == 0, "%zu: '%s', not '%s'", i, shown,
			      cases[i].shown);
		ck_assert_msg(columns == nb_text_columns(shown), "%zu: %zu columns", i, columns);
	}
}
END_TEST

/* Whatever the buffer's size, what is in it is whole characters and ends. */
START_TEST(small_buffers)
{
	const char *text = "aé日🐋b日本語🐋";
	char shown[64], room[64];

	for (size_t size = 1; size < sizeof(shown); size++) {
		memset(room, '#', sizeof(room));
		nb_text_cut(&utf8, text, SIZE_MAX, room, size);
		ck_assert_ptr_nonnull(memchr(room, '\0', size));
		ck_assert_int_eq(room[size], '#');
		ck_assert_ptr_null(strchr(room, '?'));
		nb_text_cut(&utf8, room, SIZE_MAX, shown, sizeof(shown));
		ck_assert_str_eq(shown, room);
	}
}
END_TEST

/* What @print writes, in a buffer of its own. */
static char *written(struct nb_screen screen, void (*print)(const struct nb_screen *screen))
{
	char *text = NULL;
	size_t size;

	screen.out = open_memstream(&text, &size);
	ck_assert_ptr_nonnull(screen.out);
	print(&screen);
	fclose(screen.out);
	return text;
}

static void print_cells(const struct nb_screen *screen)
{
	nb_screen_cell(screen, NB_PAINT_BAD, false, "ab", 4);
	fputc('|', screen->out);
	nb_screen_cell(screen, NB_PAINT_NONE, true, "日", 4);
	fputc('|', screen->out);
	nb_screen_cell(screen, NB_PAINT_GOOD, true, "abcdef", 3);
	fputc('|', screen->out);
	nb_screen_cell(screen, NB_PAINT_GOOD, true, "abcdef", SIZE_MAX);
}

START_TEST(padding)
{
	struct nb_screen coloured = utf8;
	char *text = written(utf8, print_cells);

	ck_assert_str_eq(text, "ab  |  日|ab…|abcdef");
	free(text);
	coloured.colour = true;
	text = written(coloured, print_cells);
	ck_assert_str_eq(text, "\033[31mab\033[0m  |  日|\033[32mab…\033[0m|\033[32mabcdef\033[0m");
	free(text);
}
END_TEST

static void print_wrapped(const struct nb_screen *screen)
{
	fputs("| - ", screen->out);
	nb_screen_wrap(screen, NB_PAINT_NONE, "|", 4, "one two  three four");
	fputs("| - ", screen->out);
	nb_screen_wrap(screen, NB_PAINT_NONE, NULL, 4, "a-word-that-is-longer-than-it b");
}

START_TEST(wrapping)
{
	struct nb_screen narrow = utf8;
	char *text;

	narrow.width = 13;
	text = written(narrow, print_wrapped);
	ck_assert_str_eq(text, "| - one two\n|   three\n|   four\n"
			       "| - a-word-that-is-longer-than-it\n    b\n");
	free(text);
	text = written(pipe_end, print_wrapped);
	ck_assert_str_eq(text, "| - one two three four\n| - a-word-that-is-longer-than-it b\n");
	free(text);
}
END_TEST

START_TEST(commands)
{
	static const struct {
		const char *text;
		const char *command; /* how it begins; NULL: there is none */
	} cases[] = {
		{ "", NULL },
		{ "nft insert rule ip a b accept", "nft" },
		{ "packets are dropped by x: iptables-nft -w -t raw", "iptables-nft" },
		{ "a: b: ip route del 10.0.0.0/8", "ip route" },
		{ "say it again: sudo nat-bridge status", "sudo" },
		{ "correct x.json:3, then: nat-bridge apply", "nat-bridge" },
		{ "for port in 5432 11434; do nft list; done", "for port" },
		{ "it is stopped: kill -CONT 48", "kill" },
		/* words that only look like it */
		{ "for the others, too", NULL },
		{ "bridge br-app: is down", NULL },
		{ "a: ip_forward is 0", NULL },
		{ "see nft list ruleset", NULL },
		{ "a:nft list ruleset", NULL },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		const char *command = nb_text_command(cases[i].text);

		if (!cases[i].command)
			ck_assert_msg(!command, "%zu: %s", i, command);
		else
			ck_assert_msg(command && strncmp(command, cases[i].command,
							 strlen(cases[i].command)) == 0,
				      "%zu: %s", i, command ? command : "none");
	}
}
END_TEST

static void print_advice(const struct nb_screen *screen)
{
	nb_screen_advise(screen, NB_PAINT_NONE, 2, "x is not so: nft list");
	nb_screen_advise(screen, NB_PAINT_NONE, 2, "drops them all: nft insert rule ip a b");
	nb_screen_advise(screen, NB_PAINT_NONE, 2, "nft insert rule ip a b accept");
	nb_screen_advise(screen, NB_PAINT_NONE, 2, "let it take the others, too");
}

/* A line's end in a command would be pasted as the command's end. */
START_TEST(advising)
{
	struct nb_screen narrow = utf8;
	char *text;

	narrow.width = 24;
	text = written(narrow, print_advice);
	ck_assert_str_eq(text, "x is not so: nft list\n"
			       "drops them all:\n  nft insert rule ip a b\n"
			       "nft insert rule ip a b accept\n"
			       "let it take the\n  others, too\n");
	free(text);
}
END_TEST

static void print_table_with(const struct nb_screen *screen, bool with_tail)
{
	struct nb_table table = {
		.columns = { { "NAME", .least = 4 },
			     { .head = "NOTHING" },
			     { "N", .right = true },
			     { "LAST", .least = 6 } },
		.column_count = 4,
	};
	struct nb_table *tables[] = { &table };
	struct nb_cell *cells = nb_table_append(&table);

	ck_assert_ptr_nonnull(cells);
	nb_cell_set(&cells[0], NB_PAINT_NONE, "short");
	nb_cell_set(&cells[2], NB_PAINT_NONE, "%d", 1000);
	cells = nb_table_append(&table);
	ck_assert_ptr_nonnull(cells);
	nb_cell_set(&cells[2], NB_PAINT_NONE, "to the end of it");
	cells[2].spills = true;
	cells = nb_table_append(&table);
	ck_assert_ptr_nonnull(cells);
	nb_cell_set(&cells[0], NB_PAINT_NONE, "a name that is longer");
	cells[0].tail = with_tail ? strlen("er") : 0;
	nb_cell_set(&cells[2], NB_PAINT_NONE, "%d", 7);
	nb_cell_set(&cells[3], NB_PAINT_NONE, "a word too much");
	nb_table_fit(screen, tables, 1, screen->width == SIZE_MAX ? SIZE_MAX : screen->width - 1);
	nb_table_print(screen, &table, "|", true);
	nb_table_clear(&table);
}

static void print_table(const struct nb_screen *screen)
{
	print_table_with(screen, false);
}

static void print_table_with_tail(const struct nb_screen *screen)
{
	print_table_with(screen, true);
}

START_TEST(tails)
{
	struct nb_screen narrow = utf8;
	char *text;

	narrow.width = 20;
	text = written(narrow, print_table_with_tail);
	ck_assert_str_eq(text, "|NAME      N  LAST\n"
			       "|short  1000\n"
			       "|       to the end …\n"
			       "|a …er     7  a wor…\n");
	free(text);
	text = written(pipe_end, print_table_with_tail);
	ck_assert_ptr_nonnull(strstr(text, "|a name that is longer     7"));
	free(text);
}
END_TEST

START_TEST(tables)
{
	struct nb_screen narrow = utf8;
	char *text;

	narrow.width = 31;
	text = written(narrow, print_table);
	ck_assert_str_eq(text, "|NAME            N  LAST\n"
			       "|short        1000\n"
			       "|             to the end of it\n"
			       "|a name tha…     7  a word too…\n");
	free(text);
	narrow.width = 20;
	text = written(narrow, print_table);
	ck_assert_str_eq(text, "|NAME      N  LAST\n"
			       "|short  1000\n"
			       "|       to the end …\n"
			       "|a na…     7  a wor…\n");
	free(text);
	text = written(pipe_end, print_table);
	ck_assert_str_eq(text, "|NAME                      N  LAST\n"
			       "|short                  1000\n"
			       "|                       to the end of it\n"
			       "|a name that is longer     7  a word too much\n");
	free(text);
}
END_TEST

/* A file is no terminal: no colour and no frames, whatever the environment says. */
START_TEST(no_terminal)
{
	FILE *file = tmpfile();
	struct nb_screen screen;

	ck_assert_ptr_nonnull(file);
	setenv("TERM", "xterm", 1);
	setenv("LC_ALL", "C.UTF-8", 1);
	unsetenv("COLUMNS");
	nb_screen_open(&screen, file);
	ck_assert(!screen.terminal && !screen.colour && !screen.utf8);
	ck_assert_uint_eq(screen.width, SIZE_MAX);
	ck_assert_str_eq(nb_glyph(&screen, NB_GLYPH_SIDE), "|");
	setenv("COLUMNS", "100", 1);
	nb_screen_open(&screen, file);
	ck_assert_uint_eq(screen.width, 100);
	setenv("COLUMNS", "1", 1);
	nb_screen_open(&screen, file);
	ck_assert_uint_eq(screen.width, 20);
	setenv("COLUMNS", "80x", 1);
	nb_screen_open(&screen, file);
	ck_assert_uint_eq(screen.width, SIZE_MAX);
	fclose(file);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("screen");

	unit_add(suite, "widths", widths);
	unit_add(suite, "cutting", cutting);
	unit_add(suite, "small buffers", small_buffers);
	unit_add(suite, "padding", padding);
	unit_add(suite, "wrapping", wrapping);
	unit_add(suite, "commands", commands);
	unit_add(suite, "advising", advising);
	unit_add(suite, "tables", tables);
	unit_add(suite, "tails", tails);
	unit_add(suite, "no terminal", no_terminal);
	return unit_run(suite);
}
