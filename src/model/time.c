/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "nat-bridge/mapping.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#define DIGITS "0123456789"

#define DURATION_MAX (INT64_C(36500) * 86400) /* a hundred years: what is behind is a slip */
#define TIME_MAX     INT64_C(253402300799)    /* 9999-12-31T23:59:59Z */

int nb_duration_parse(const char *text, int64_t *ret_seconds, struct nb_error *err)
{
	static const struct {
		char unit;
		int64_t seconds;
	} units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 } };
	size_t digits = strspn(text, DIGITS);
	int64_t factor = 0;
	int64_t value = 0;

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (text[digits] == units[i].unit && !text[digits + 1])
			factor = units[i].seconds;
	}
	if (!digits || !factor || text[0] == '0')
		return nb_error_set(err, NB_STATUS_USAGE, EINVAL, "usage",
				    "\"%.40s\" is no duration; write a whole number and one of s, "
				    "m, h, d, such as 90s, 15m, 2h or 7d",
				    text);
	for (size_t i = 0; i < digits && value <= DURATION_MAX; i++)
		value = 10 * value + (text[i] - '0');
	if (value > DURATION_MAX / factor)
		return nb_error_set(err, NB_STATUS_USAGE, EINVAL, "usage",
				    "\"%.40s\" is longer than 36500d; leave the duration out for a "
				    "mapping without an end",
				    text);
	*ret_seconds = value * factor;
	return 0;
}

const char *nb_time_format(int64_t seconds, char *buffer)
{
	struct tm tm = { 0 };
	time_t when;

	if (seconds < 0)
		seconds = 0;
	if (seconds > TIME_MAX)
		seconds = TIME_MAX;
	when = (time_t)seconds;
	gmtime_r(&when, &tm);
	if (!strftime(buffer, NB_TIME_SIZE, "%Y-%m-%dT%H:%M:%SZ", &tm))
		buffer[0] = '\0';
	return buffer;
}

/* @count digits at *@text, and step over them. -1: there are fewer. */
static int read_digits(const char **text, int count)
{
	int value = 0;

	for (int i = 0; i < count; i++) {
		char c = **text;

		if (c < '0' || c > '9')
			return -1;
		value = 10 * value + (c - '0');
		(*text)++;
	}
	return value;
}

static bool read_char(const char **text, const char *allowed)
{
	if (!**text || !strchr(allowed, **text))
		return false;
	(*text)++;
	return true;
}

static int days_in_month(int year, int month)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

	return month == 2 && leap ? 29 : days[month - 1];
}

/* "Z", "+01:00" */
static int parse_offset(const char *text, int *ret_seconds)
{
	int sign = *text == '-' ? -1 : 1;
	int hours;
	int minutes;

	*ret_seconds = 0;
	if (read_char(&text, "Zz"))
		return *text ? -EINVAL : 0;
	if (!read_char(&text, "+-"))
		return -EINVAL;
	hours = read_digits(&text, 2);
	if (hours < 0 || hours > 23 || !read_char(&text, ":"))
		return -EINVAL;
	minutes = read_digits(&text, 2);
	if (minutes < 0 || minutes > 59 || *text)
		return -EINVAL;
	*ret_seconds = sign * (hours * 3600 + minutes * 60);
	return 0;
}

int nb_time_parse(const char *text, int64_t *ret_seconds)
{
	struct tm tm = { 0 };
	int year = read_digits(&text, 4);
	int month = year >= 0 && read_char(&text, "-") ? read_digits(&text, 2) : -1;
	int day = month >= 1 && read_char(&text, "-") ? read_digits(&text, 2) : -1;
	int hour = day >= 1 && read_char(&text, "Tt") ? read_digits(&text, 2) : -1;
	int minute = hour >= 0 && read_char(&text, ":") ? read_digits(&text, 2) : -1;
	int second = minute >= 0 && read_char(&text, ":") ? read_digits(&text, 2) : -1;
	int offset;
	int64_t seconds;

	if (second < 0 || month > 12 || day > days_in_month(year, month) || hour > 23 ||
	    minute > 59 || second > 60)
		return -EINVAL;
	if (read_char(&text, ".")) {
		size_t digits = strspn(text, DIGITS);

		if (!digits)
			return -EINVAL;
		text += digits;
	}
	if (parse_offset(text, &offset))
		return -EINVAL;
	tm.tm_year = year - 1900;
	tm.tm_mon = month - 1;
	tm.tm_mday = day;
	tm.tm_hour = hour;
	tm.tm_min = minute;
	tm.tm_sec = second;
	seconds = (int64_t)timegm(&tm) - offset;
	/* A leap second, which is always the last of a day in UTC, counts as the next day's first. */
	if (second == 60 && seconds % 86400 != 0)
		return -EINVAL;
	*ret_seconds = seconds;
	return 0;
}
