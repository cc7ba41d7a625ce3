/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a screen can show. */
#include "screen.h"

#include <langinfo.h>
#include <locale.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "../model/text.h"

#define USUAL_WIDTH  80
#define LEAST_WIDTH  20 /* less is a mistake of somebody's */
#define LONGEST_TEXT 1024

/* The program's own locale stays "C": numbers and messages are the same everywhere. */
static bool has_utf8_locale(void)
{
	locale_t locale = newlocale(LC_CTYPE_MASK, "", NULL);
	bool utf8;

	if (!locale)
		return false;
	utf8 = strcasecmp(nl_langinfo_l(CODESET, locale), "UTF-8") == 0;
	freelocale(locale);
	return utf8;
}

static bool is_set(const char *name)
{
	const char *value = getenv(name);

	return value && *value;
}

static size_t find_width(int fd, bool terminal)
{
	const char *columns = getenv("COLUMNS");
	size_t width = terminal ? USUAL_WIDTH : SIZE_MAX;
	struct winsize size;
	unsigned long number;
	char *end;

	if (terminal && ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col)
		width = size.ws_col;
	else if (columns && *columns >= '1' && *columns <= '9') {
		number = strtoul(columns, &end, 10);
		if (!*end && number < INT16_MAX)
			width = number;
	}
	return width < LEAST_WIDTH ? LEAST_WIDTH : width;
}

void nb_screen_open(struct nb_screen *screen, FILE *out)
{
	const char *term = getenv("TERM");
	int fd = fileno(out);

	*screen = (struct nb_screen){ .out = out, .terminal = fd >= 0 && isatty(fd) };
	screen->erases = screen->terminal && term && strcmp(term, "dumb") != 0;
	screen->colour = screen->erases && !is_set("NO_COLOR");
	screen->utf8 = screen->terminal && has_utf8_locale();
	screen->width = find_width(fd, screen->terminal);
}

const char *nb_glyph(const struct nb_screen *screen, enum nb_glyph glyph)
{
	static const char *const glyphs[NB_GLYPH_COUNT][2] = {
		[NB_GLYPH_TOP] = { "+", "┌" },	  [NB_GLYPH_SIDE] = { "|", "│" },
		[NB_GLYPH_BOTTOM] = { "+", "└" }, [NB_GLYPH_LINE] = { "-", "─" },
		[NB_GLYPH_GOOD] = { "+", "✓" },	  [NB_GLYPH_BAD] = { "x", "✗" },
		[NB_GLYPH_WARN] = { "!", "!" },	  [NB_GLYPH_ARROW] = { ">", "→" },
	};

	return glyphs[glyph][screen->utf8];
}

/* --- Text --- */

/* The character of a valid sequence. */
static uint32_t decode(const char *text, size_t length)
{
	const unsigned char *byte = (const unsigned char *)text;
	uint32_t value = length == 1 ? byte[0] : byte[0] & (0x7fU >> length);

	for (size_t i = 1; i < length; i++)
		value = value << 6 | (byte[i] & 0x3f);
	return value;
}

/* Of those that names of networks and programs may have: what is not here is one column wide. */
static size_t columns_of(uint32_t character)
{
	static const struct {
		uint32_t first, last;
		size_t columns;
	} ranges[] = {
		{ 0x0300, 0x036f, 0 },	 /* accents that join what is before */
		{ 0x1100, 0x115f, 2 },	 /* Hangul */
		{ 0x200b, 0x200f, 0 },	 /* zero width, and marks of direction */
		{ 0x20d0, 0x20ff, 0 },	 /* marks around symbols */
		{ 0x2e80, 0xa4cf, 2 },	 /* Han, Kana, Yi */
		{ 0xac00, 0xd7a3, 2 },	 /* Hangul */
		{ 0xf900, 0xfaff, 2 },	 /* Han */
		{ 0xfe00, 0xfe0f, 0 },	 /* variations */
		{ 0xfe30, 0xfe6f, 2 },	 /* forms of Han's */
		{ 0xff00, 0xff60, 2 },	 /* full width */
		{ 0xffe0, 0xffe6, 2 },	 /* likewise */
		{ 0x1f300, 0x1f64f, 2 }, /* pictures */
		{ 0x1f680, 0x1f6ff, 2 }, { 0x1f900, 0x1f9ff, 2 }, { 0x20000, 0x3fffd, 2 },
	};

	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++)
		if (character >= ranges[i].first && character <= ranges[i].last)
			return ranges[i].columns;
	return 1;
}

/* C1 is what drives a terminal, too; the others turn the direction of what follows. */
static bool is_control(uint32_t character)
{
	return character < 0x20 || (character >= 0x7f && character < 0xa0) ||
	       (character >= 0x202a && character <= 0x202e) ||
	       (character >= 0x2066 && character <= 0x2069) || character == 0x200e ||
	       character == 0x200f;
}

/* A character as it is shown. */
struct piece {
	const char *bytes;
	size_t taken;  /* bytes of the text */
	size_t length; /* bytes to be shown */
	size_t columns;
};

static struct piece next_piece(const char *text, bool ascii)
{
	size_t length = nb_utf8_sequence(text, strlen(text));
	uint32_t character = length ? decode(text, length) : 0;
	struct piece piece = { text, length, length, 0 };

	if (!length || is_control(character) || (ascii && character > 0x7f)) {
		piece = (struct piece){ "?", length ? length : 1, 1, 1 };
		/* an accent on a letter that can be shown */
		if (length && ascii && !is_control(character) && !columns_of(character))
			piece.length = piece.columns = 0;
		return piece;
	}
	piece.columns = columns_of(character);
	return piece;
}

size_t nb_text_columns(const char *text)
{
	size_t columns = 0;

	while (*text) {
		struct piece piece = next_piece(text, false);

		columns += piece.columns;
		text += piece.taken;
	}
	return columns;
}

size_t nb_text_cut(const struct nb_screen *screen, const char *text, size_t columns, char *buffer,
		   size_t size)
{
	bool ascii = screen->terminal && !screen->utf8;
	const char *end = screen->utf8 ? "…" : "~";
	size_t reserve = strlen(end) + 1;
	size_t used = 0, at = 0;
	/* how far it may go if it has to be cut */
	size_t good_used = 0, good_at = 0;

	while (*text) {
		struct piece piece = next_piece(text, ascii);

		if (used + piece.columns > columns || at + piece.length >= size)
			break;
		memcpy(buffer + at, piece.bytes, piece.length);
		at += piece.length;
		used += piece.columns;
		text += piece.taken;
		if (used < columns && at + reserve <= size) {
			good_used = used;
			good_at = at;
		}
	}
	if (*text && columns && size >= reserve) {
		strcpy(buffer + good_at, end);
		return good_used + 1;
	}
	buffer[at] = '\0';
	return used;
}

/* --- Printing --- */

static void begin_paint(const struct nb_screen *screen, enum nb_paint paint)
{
	static const char *const codes[] = {
		[NB_PAINT_HEAD] = "1",	[NB_PAINT_FAINT] = "2", [NB_PAINT_GOOD] = "32",
		[NB_PAINT_WARN] = "33", [NB_PAINT_BAD] = "31",
	};

	if (screen->colour && paint != NB_PAINT_NONE)
		fprintf(screen->out, "\033[%sm", codes[paint]);
}

static void end_paint(const struct nb_screen *screen, enum nb_paint paint)
{
	if (screen->colour && paint != NB_PAINT_NONE)
		fputs("\033[0m", screen->out);
}

void nb_screen_paint(const struct nb_screen *screen, enum nb_paint paint, const char *text)
{
	begin_paint(screen, paint);
	fputs(text, screen->out);
	end_paint(screen, paint);
}

void nb_screen_cell(const struct nb_screen *screen, enum nb_paint paint, bool right,
		    const char *text, size_t columns)
{
	char shown[LONGEST_TEXT];
	size_t used = nb_text_cut(screen, text, columns, shown, sizeof(shown));
	int blanks = columns == SIZE_MAX ? 0 : (int)(columns - used);

	if (right)
		fprintf(screen->out, "%*s", blanks, "");
	nb_screen_paint(screen, paint, shown);
	if (!right)
		fprintf(screen->out, "%*s", blanks, "");
}

/* @whole, if not NULL, is the part of @text that stays on one line: from there to its end. */
static void wrap(const struct nb_screen *screen, enum nb_paint paint, const char *margin,
		 size_t indent, const char *text, const char *whole)
{
	size_t column = indent;

	begin_paint(screen, paint);
	while (*text) {
		size_t length = whole && text >= whole ? strlen(text) : strcspn(text, " "), columns;
		char word[LONGEST_TEXT], shown[LONGEST_TEXT];

		snprintf(word, sizeof(word), "%.*s", (int)length, text);
		columns = nb_text_cut(screen, word, SIZE_MAX, shown, sizeof(shown));
		if (column > indent && screen->width != SIZE_MAX &&
		    column + 1 + columns > screen->width) {
			end_paint(screen, paint);
			fputc('\n', screen->out);
			if (margin)
				nb_screen_paint(screen, NB_PAINT_FAINT, margin);
			fprintf(screen->out, "%*s",
				(int)(indent - (margin ? nb_text_columns(margin) : 0)), "");
			begin_paint(screen, paint);
			column = indent;
		} else if (column > indent) {
			fputc(' ', screen->out);
			column++;
		}
		fputs(shown, screen->out);
		column += columns;
		text += length;
		text += strspn(text, " ");
	}
	end_paint(screen, paint);
	fputc('\n', screen->out);
}

void nb_screen_wrap(const struct nb_screen *screen, enum nb_paint paint, const char *margin,
		    size_t indent, const char *text)
{
	wrap(screen, paint, margin, indent, text, NULL);
}

void nb_screen_advise(const struct nb_screen *screen, enum nb_paint paint, size_t indent,
		      const char *text)
{
	wrap(screen, paint, NULL, indent, text, nb_text_command(text));
}

/* --- Tables --- */

struct nb_cell *nb_table_append(struct nb_table *table)
{
	if (table->row_count == table->capacity) {
		size_t capacity = table->capacity ? 2 * table->capacity : 16;
		struct nb_cell(*grown)[NB_TABLE_COLUMNS] = realloc(table->rows,
								   capacity * sizeof(*grown));

		if (!grown)
			return NULL;
		table->rows = grown;
		table->capacity = capacity;
	}
	memset(table->rows[table->row_count], 0, sizeof(*table->rows));
	return table->rows[table->row_count++];
}

void nb_cell_set(struct nb_cell *cell, enum nb_paint paint, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(cell->text, sizeof(cell->text), format, arguments);
	va_end(arguments);
	cell->paint = paint;
}

/* Without a text in any row a column is not there. */
static void measure(const struct nb_table *table, size_t *widths)
{
	for (size_t c = 0; c < table->column_count; c++) {
		size_t head = nb_text_columns(table->columns[c].head);

		for (size_t i = 0; i < table->row_count; i++) {
			const struct nb_cell *cell = &table->rows[i][c];
			size_t columns = cell->spills ? 0 : nb_text_columns(cell->text);

			if (columns && columns < head)
				columns = head;
			if (columns > widths[c])
				widths[c] = columns;
		}
	}
}

static size_t total_width(const size_t *widths, size_t count)
{
	size_t total = 0;

	for (size_t c = 0; c < count; c++)
		if (widths[c])
			total += widths[c] + (total ? 2 : 0);
	return total;
}

void nb_table_fit(const struct nb_screen *screen, struct nb_table *const *tables, size_t count,
		  size_t room)
{
	size_t widths[NB_TABLE_COLUMNS] = { 0 };

	for (size_t i = 0; i < count; i++)
		measure(tables[i], widths);
	while (count && screen->width != SIZE_MAX &&
	       total_width(widths, tables[0]->column_count) > room) {
		size_t widest = SIZE_MAX;

		for (size_t c = 0; c < tables[0]->column_count; c++) {
			size_t least = tables[0]->columns[c].least;

			if (least && widths[c] > least &&
			    (widest == SIZE_MAX || widths[c] > widths[widest]))
				widest = c;
		}
		if (widest == SIZE_MAX)
			break;
		widths[widest]--;
	}
	for (size_t i = 0; i < count; i++) {
		memcpy(tables[i]->widths, widths, sizeof(widths));
		tables[i]->room = screen->width == SIZE_MAX ? SIZE_MAX : room;
	}
}

/* From the beginning of a column to the end of the line. */
static size_t width_from(const struct nb_table *table, size_t first)
{
	size_t before = total_width(table->widths, first);
	size_t least = total_width(table->widths + first, table->column_count - first);

	before += before ? 2 : 0;
	if (table->room == SIZE_MAX)
		return SIZE_MAX;
	return table->room > before + least ? table->room - before : least;
}

/* "postgres-very-long[812]" -> "postg…[812]" */
static void print_cell(const struct nb_screen *screen, const struct nb_cell *cell, size_t columns)
{
	size_t length = strlen(cell->text), tail;
	char shown[NB_CELL_SIZE + 8];

	if (cell->tail < length && nb_text_columns(cell->text) > columns) {
		const char *end = cell->text + length - cell->tail;

		tail = nb_text_columns(end);
		if (tail + 2 <= columns) {
			snprintf(shown, sizeof(shown), "%.*s", (int)(length - cell->tail),
				 cell->text);
			nb_screen_cell(screen, cell->paint, false, shown, columns - tail);
			nb_screen_cell(screen, cell->paint, false, end, tail);
			return;
		}
	}
	nb_screen_cell(screen, cell->paint, false, cell->text, columns);
}

static void print_row(const struct nb_screen *screen, const struct nb_table *table,
		      const struct nb_cell *cells)
{
	size_t blanks = 0;
	bool first = true;

	for (size_t c = 0; c < table->column_count; c++) {
		const struct nb_column *column = &table->columns[c];
		const char *text = cells ? cells[c].text : column->head;
		bool spills = cells && cells[c].spills;
		bool right = column->right && !spills;
		size_t width = spills ? width_from(table, c) : table->widths[c];
		size_t columns = nb_text_columns(text);

		if (!width)
			continue;
		blanks += first ? 0 : 2;
		first = false;
		columns = columns > width ? width : columns;
		/* nothing is printed behind the last text of a line */
		if (columns) {
			fprintf(screen->out, "%*s", (int)(blanks + (right ? width - columns : 0)),
				"");
			if (cells)
				print_cell(screen, &cells[c], columns);
			else
				nb_screen_cell(screen, NB_PAINT_FAINT, false, text, columns);
			blanks = right ? 0 : width - columns;
		} else {
			blanks += width;
		}
	}
	fputc('\n', screen->out);
}

void nb_table_print(const struct nb_screen *screen, const struct nb_table *table,
		    const char *margin, bool with_head)
{
	if (with_head) {
		nb_screen_paint(screen, NB_PAINT_FAINT, margin);
		print_row(screen, table, NULL);
	}
	for (size_t i = 0; i < table->row_count; i++) {
		nb_screen_paint(screen, NB_PAINT_FAINT, margin);
		print_row(screen, table, table->rows[i]);
	}
}

void nb_table_clear(struct nb_table *table)
{
	free(table->rows);
	table->rows = NULL;
	table->row_count = table->capacity = 0;
}
