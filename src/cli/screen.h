/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a screen can show: its width, colour, box characters; cells that are cut and padded.
 *
 * What is no terminal gets plain ASCII marks, no colour, and whole words: it is for grep.
 */
#ifndef NAT_BRIDGE_SCREEN_H
#define NAT_BRIDGE_SCREEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct nb_screen {
	FILE *out;
	bool terminal;
	bool erases;  /* a terminal, and not TERM=dumb: what a line says may be replaced */
	bool colour;  /* the same, and NO_COLOR does not stand against it */
	bool utf8;    /* a terminal whose locale is of UTF-8: box characters may be used */
	size_t width; /* columns; SIZE_MAX: as many as it takes */
};

/*
 * Look at what @out is. The width is the terminal's; where there is none it is COLUMNS, and
 * without that no limit (a terminal that does not know its width has 80).
 */
void nb_screen_open(struct nb_screen *screen, FILE *out);

/* What a text is to look like. */
enum nb_paint {
	NB_PAINT_NONE,
	NB_PAINT_HEAD,	/* bold */
	NB_PAINT_FAINT, /* what may be overlooked */
	NB_PAINT_GOOD,
	NB_PAINT_WARN,
	NB_PAINT_BAD,
};

/* Characters of a frame, each one column wide. */
enum nb_glyph {
	NB_GLYPH_TOP,	 /* ┌ or + : a block begins */
	NB_GLYPH_SIDE,	 /* │ or | */
	NB_GLYPH_BOTTOM, /* └ or + : it ends */
	NB_GLYPH_LINE,	 /* ─ or - */
	NB_GLYPH_GOOD,	 /* ✓ or + */
	NB_GLYPH_BAD,	 /* ✗ or x */
	NB_GLYPH_WARN,	 /* ! */
	NB_GLYPH_ARROW,	 /* → or > */
	NB_GLYPH_COUNT,
};

const char *nb_glyph(const struct nb_screen *screen, enum nb_glyph glyph);

/* Columns that a line of UTF-8 takes. */
size_t nb_text_columns(const char *text);

/*
 * Make of @text one line that @screen can show and that takes at most @columns: control
 * characters and broken UTF-8 become '?', also each character that is not ASCII where the terminal
 * cannot show it. What is cut ends in "…", or "~" where that cannot be shown. Never half a character.
 * Returns the columns it takes.
 */
size_t nb_text_cut(const struct nb_screen *screen, const char *text, size_t columns, char *buffer,
		   size_t size);

/* Print @text as it is, in that paint. */
void nb_screen_paint(const struct nb_screen *screen, enum nb_paint paint, const char *text);

/* Print @text cut to @columns and padded to them (SIZE_MAX: neither); @right: to the right. */
void nb_screen_cell(const struct nb_screen *screen, enum nb_paint paint, bool right,
		    const char *text, size_t columns);

/*
 * Print @text broken at blanks; the cursor is at column @indent, and further lines begin there,
 * behind @margin (NULL: blanks). Ends the last line. A word longer than a line is left whole.
 */
void nb_screen_wrap(const struct nb_screen *screen, enum nb_paint paint, const char *margin,
		    size_t indent, const char *text);

/*
 * The command in @text that somebody is to type: it stands there alone, or behind a colon, and goes to the
 * end. NULL: there is none. Programs are known by their names.
 */
const char *nb_text_command(const char *text);

/*
 * The same of a text that may hold such a command: that is never broken, so that it can be copied. It
 * begins a line if there is no room for it, and goes beyond the end if a line does not have it.
 */
void nb_screen_advise(const struct nb_screen *screen, enum nb_paint paint, size_t indent,
		      const char *text);

#define NB_TABLE_COLUMNS 10
#define NB_CELL_SIZE	 192

struct nb_cell {
	char text[NB_CELL_SIZE]; /* what is longer is cut; use nb_cell_set() */
	enum nb_paint paint;
	bool spills; /* it takes the room of the cells to its right, which are empty, and behind them */
	size_t tail; /* so many bytes at its end stay, if it has to be cut and they are not all of it */
};

struct nb_column {
	const char *head;
	bool right;
	/* It may be cut down to this many columns if the table is too wide; 0: never. */
	size_t least;
};

/* Rows of cells that are printed under one another. Zero-initialise, with columns and their count. */
struct nb_table {
	struct nb_column columns[NB_TABLE_COLUMNS];
	size_t column_count;
	struct nb_cell (*rows)[NB_TABLE_COLUMNS];
	size_t row_count;
	size_t capacity;
	size_t widths[NB_TABLE_COLUMNS]; /* by nb_table_fit() */
	size_t room;			 /* likewise; SIZE_MAX: no end */
};

/* A new row with empty cells, valid until the next; NULL: out of memory. */
struct nb_cell *nb_table_append(struct nb_table *table);
void nb_cell_set(struct nb_cell *cell, enum nb_paint paint, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/*
 * How wide the columns are on a line of @room columns: those that may be cut are, the widest
 * first. Several tables that are to stand under one another are fitted together.
 */
void nb_table_fit(const struct nb_screen *screen, struct nb_table *const *tables, size_t count,
		  size_t room);
/* Print head (if @with_head) and rows, each line behind @margin. Columns without a text are left out. */
void nb_table_print(const struct nb_screen *screen, const struct nb_table *table,
		    const char *margin, bool with_head);
void nb_table_clear(struct nb_table *table);

#endif
