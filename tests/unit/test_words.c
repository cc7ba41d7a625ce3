/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What people write: ports, targets, durations, times, names. */
#include <errno.h>
#include <string.h>

#include "model/text.h"
#include "nat-bridge/mapping.h"
#include "unit.h"

/* Numbers, targets, ports */

START_TEST(port_numbers)
{
	static const char *const wrong[] = { "",       "0",	 "00",	   "080",	"65536",
					     "99999",  "100000", "-1",	   "+80",	" 80",
					     "80 ",    "80.0",	 "1e3",	   "0x50",	"8a",
					     "655350", "\n",	 "6553\n", "4294967376" };
	uint16_t port = 7;

	for (size_t i = 0; i < COUNT(wrong); i++)
		ck_assert_msg(nb_port_number_parse(wrong[i], &port) == -EINVAL, "%s", wrong[i]);
	ck_assert_uint_eq(port, 7);
	ck_assert_int_eq(nb_port_number_parse("1", &port), 0);
	ck_assert_uint_eq(port, 1);
	ck_assert_int_eq(nb_port_number_parse("65535", &port), 0);
	ck_assert_uint_eq(port, 65535);
}
END_TEST

START_TEST(targets)
{
	static const struct {
		const char *text;
		const char *again;
	} valid[] = {
		{ "80", "127.0.0.1:80" },
		{ "65535", "127.0.0.1:65535" },
		{ "127.0.0.1:1", "127.0.0.1:1" },
		{ "127.255.255.254:65535", "127.255.255.254:65535" },
		{ "127.0.0.53:53", "127.0.0.53:53" },
	};
	static const struct {
		const char *text;
		const char *says;
	} wrong[] = {
		{ "", "lacks a port" },
		{ "127.0.0.1", "write 127.0.0.1:PORT" },
		{ "127.0.0.1:", "lacks a port number" },
		{ ":80", "lacks an address" },
		{ "127.0.0.1:0", "0 is not in 1-65535" },
		{ "127.0.0.1:65536", "65536 is not in" },
		{ "127.0.0.1:080", "write 80" },
		{ "126.255.255.255:80", "outside 127.0.0.0/8" },
		{ "128.0.0.1:80", "outside 127.0.0.0/8" },
		{ "127.0.0.0:80", "nothing listens" },
		{ "127.255.255.255:80", "nothing listens" },
		{ "127.0.0.256:80", "no IPv4 address" },
		{ "127.0.0.01:80", "no IPv4 address" },
		{ "127.0.1:80", "no IPv4 address" },
		{ "127.0.0.1.:80", "no IPv4 address" },
		{ "127.0.0.1.1:80", "no IPv4 address" },
		{ "127.0.0.0001:80", "no IPv4 address" },
		{ "0.0.0.0:80", "0.0.0.0 is no target" },
		{ "localhost:80", "127.0.0.1 in place" },
		{ "db:80", "no IPv4 address" },
		{ "80:127.0.0.1:80", "too many colons" },
		{ "[::1]:80", "IPv6" },
		{ "::1", "IPv6" },
		{ "127.0.0.1:80/tcp", "no port number" },
		{ "1234567890123456789012345678901234567890123456789012345678901234", "too long" },
	};
	struct nb_target target;
	struct nb_target same;
	struct nb_error err;
	char text[NB_TARGET_SIZE];

	for (size_t i = 0; i < COUNT(valid); i++) {
		ck_assert_int_eq(nb_target_parse(valid[i].text, &target, NULL), 0);
		ck_assert_str_eq(nb_target_format(&target, text), valid[i].again);
		ck_assert_int_eq(nb_target_parse(text, &same, NULL), 0);
		ck_assert(nb_target_equal(&target, &same));
		same.port ^= 1;
		ck_assert(!nb_target_equal(&target, &same));
	}
	target = same;
	for (size_t i = 0; i < COUNT(wrong); i++) {
		ck_assert_msg(nb_target_parse(wrong[i].text, &target, &err) == -EINVAL, "%s",
			      wrong[i].text);
		ck_assert_int_eq(err.status, NB_STATUS_USAGE);
		ck_assert_msg(strstr(err.message, wrong[i].says) != NULL, "%s: %s", wrong[i].text,
			      err.message);
		ck_assert(nb_target_equal(&target, &same));
	}
}
END_TEST

START_TEST(protocols)
{
	ck_assert_int_eq(nb_protocol_parse("tcp"), IPPROTO_TCP);
	ck_assert_int_eq(nb_protocol_parse("udp"), IPPROTO_UDP);
	ck_assert_int_eq(nb_protocol_parse("TCP"), -EINVAL);
	ck_assert_int_eq(nb_protocol_parse(""), -EINVAL);
	ck_assert_int_eq(nb_protocol_parse("sctp"), -EINVAL);
	ck_assert_str_eq(nb_protocol_name(IPPROTO_TCP), "tcp");
	ck_assert_str_eq(nb_protocol_name(IPPROTO_UDP), "udp");
	ck_assert_str_eq(nb_engine_name(NB_ENGINE_PODMAN), "podman");
}
END_TEST

START_TEST(port_words_valid)
{
	static const struct {
		const char *word;
		uint16_t port;
		const char *target;
		int protocol;
		bool given;
	} rows[] = {
		{ "11434", 11434, "127.0.0.1:11434", IPPROTO_TCP, false },
		{ "1", 1, "127.0.0.1:1", IPPROTO_TCP, false },
		{ "65535/udp", 65535, "127.0.0.1:65535", IPPROTO_UDP, false },
		{ "80/tcp", 80, "127.0.0.1:80", IPPROTO_TCP, false },
		{ "15432:5432", 15432, "127.0.0.1:5432", IPPROTO_TCP, true },
		{ "15432:5432/udp", 15432, "127.0.0.1:5432", IPPROTO_UDP, true },
		{ "80:80", 80, "127.0.0.1:80", IPPROTO_TCP, true },
		{ "127.0.0.1:5432", 5432, "127.0.0.1:5432", IPPROTO_TCP, true },
		{ "15432:127.0.0.1:5432", 15432, "127.0.0.1:5432", IPPROTO_TCP, true },
		{ "53:127.0.0.54:53/udp", 53, "127.0.0.54:53", IPPROTO_UDP, true },
		{ "1:127.255.255.254:65535", 1, "127.255.255.254:65535", IPPROTO_TCP, true },
	};
	struct nb_port_spec spec;
	char text[NB_TARGET_SIZE];

	for (size_t i = 0; i < COUNT(rows); i++) {
		memset(&spec, 0x55, sizeof(spec));
		ck_assert_msg(!nb_port_parse(rows[i].word, &spec, NULL), "%s", rows[i].word);
		ck_assert_uint_eq(spec.port, rows[i].port);
		ck_assert_str_eq(nb_target_format(&spec.target, text), rows[i].target);
		ck_assert_int_eq(spec.protocol, rows[i].protocol);
		ck_assert_int_eq(spec.target_given, rows[i].given);
	}
}
END_TEST

START_TEST(port_words_refused)
{
	static const struct {
		const char *word;
		const char *says;
	} rows[] = {
		{ "", "an empty word" },
		{ "0", "0 is not in 1-65535" },
		{ "00", "00 is not in 1-65535" },
		{ "65536", "65536 is not in 1-65535" },
		{ "99999999999999999999", "is not in 1-65535" },
		{ "080", "write 80" },
		{ "+80", "write 80" },
		{ "-80", "write 80" },
		{ "-0", "-0 is not in" },
		{ "+", "no port number" },
		{ "80.0", "no port number" },
		{ "1e3", "no port number" },
		{ "0x50", "no port number" },
		{ "http", "\"http\" is no port number" },
		{ "80 ", "blank" },
		{ " 80", "blank" },
		{ "80\n", "blank" },
		{ "8\xc3\xb6", "not ASCII" },
		{ "80-90", "separate words: 80 81 ..." },
		{ "80-81", "separate words: 80 81" },
		{ "90-80", "as separate words" },
		{ "65535-65536", "as separate words" },
		{ "80-", "as separate words" },
		{ "80--81", "as separate words" },
		{ "1-2-3", "as separate words" },
		{ "80,90", "commas" },
		{ "80-90:80", "ranges" },
		{ "80/sctp", "write /tcp or /udp" },
		{ "80/", "write 80, or 80/udp" },
		{ "80/TCP", "80/tcp" },
		{ "80/Udp", "80/udp" },
		{ "80/tcp/udp", "\"tcp/udp\" is no protocol" },
		{ "tcp/80", "the port comes first: 80/tcp" },
		{ "/tcp", "lacks a port number" },
		{ ":80", "begins with a colon" },
		{ ":", "begins with a colon" },
		{ "80:", "write 80" },
		{ "127.0.0.1", "write 127.0.0.1:PORT" },
		{ "127.0.0.1:", "lacks a port number" },
		{ "80:127.0.0.1", "write 80:127.0.0.1:80" },
		{ "80:127.0.0.1:", "lacks a port number" },
		{ "80::80", "two colons in a row; write 80:80" },
		{ "80::80/tcp", "two colons" },
		{ "80::", "IPv6" },
		{ "[::1]:80", "IPv6" },
		{ "80:[::1]:80", "IPv6" },
		{ "::1", "IPv6" },
		{ "10.0.0.1:80", "outside 127.0.0.0/8" },
		{ "80:126.255.255.255:80", "outside 127.0.0.0/8" },
		{ "80:128.0.0.1:80", "outside 127.0.0.0/8" },
		{ "0.0.0.0:80", "write 127.0.0.1" },
		{ "127.255.255.255:80", "nothing listens" },
		{ "80:127.255.255.255:80", "nothing listens" },
		{ "127.0.0.0:80", "nothing listens" },
		{ "127.0.0.1:0", "0 is not in" },
		{ "127.0.0.1:65536", "65536 is not in" },
		{ "127.1:80", "no IPv4 address" },
		{ "localhost:80", "write 127.0.0.1 in place of localhost" },
		{ "80:localhost:80", "write 127.0.0.1 in place of localhost" },
		{ "80:db:80", "no IPv4 address" },
		{ "127.0.0.1:15432:5432", "15432:127.0.0.1:5432" },
		{ "localhost:15432:5432", "15432:127.0.0.1:5432" },
		{ "0.0.0.0:15432:5432", "15432:127.0.0.1:5432" },
		{ "127.0.0.2:15432:5432", "15432:127.0.0.2:5432" },
		{ "80:81:82", "write 80:82" },
		{ "0:127.0.0.1:80", "0 is not in" },
		{ "65536:80", "65536 is not in" },
		{ "80:65536", "65536 is not in" },
		{ "080:80", "write 80" },
		{ "a:b", "no IPv4 address" },
		{ "1:127.0.0.1:80:80", "too many colons" },
		{ "1234567890123456789012345678901234567890123456789012345678901234", "too long" },
	};
	struct nb_port_spec spec = { .port = 7 };
	struct nb_error err;

	for (size_t i = 0; i < COUNT(rows); i++) {
		ck_assert_msg(nb_port_parse(rows[i].word, &spec, &err) == -EINVAL, "%s",
			      rows[i].word);
		ck_assert_int_eq(err.status, NB_STATUS_USAGE);
		ck_assert_str_eq(err.code, "usage");
		ck_assert_msg(strstr(err.message, rows[i].says) != NULL, "%s: %s", rows[i].word,
			      err.message);
		ck_assert_uint_lt(strlen(err.message), 4 * 80);
		ck_assert_uint_eq(spec.port, 7);
		ck_assert_int_eq(nb_port_parse(rows[i].word, &spec, NULL), -EINVAL);
	}
}
END_TEST

/* Times */

START_TEST(durations)
{
	static const struct {
		const char *text;
		int64_t seconds; /* 0: refused */
	} rows[] = {
		{ "1s", 1 },
		{ "90s", 90 },
		{ "15m", 900 },
		{ "2h", 7200 },
		{ "7d", 604800 },
		{ "36500d", INT64_C(3153600000) },
		{ "3153600000s", INT64_C(3153600000) },
		{ "36501d", 0 },
		{ "3153600001s", 0 },
		{ "99999999999999999999999999s", 0 },
		{ "", 0 },
		{ "0s", 0 },
		{ "00s", 0 },
		{ "01s", 0 },
		{ "s", 0 },
		{ "5", 0 },
		{ "-5s", 0 },
		{ "+5s", 0 },
		{ "1.5h", 0 },
		{ "5S", 0 },
		{ "5w", 0 },
		{ "5min", 0 },
		{ "5s ", 0 },
		{ " 5s", 0 },
		{ "1h30m", 0 },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct nb_error err;
		int64_t seconds = -7;
		int r = nb_duration_parse(rows[i].text, &seconds, &err);

		ck_assert_msg(r == (rows[i].seconds ? 0 : -EINVAL), "%s", rows[i].text);
		ck_assert_int_eq(seconds, rows[i].seconds ? rows[i].seconds : -7);
	}
}
END_TEST

START_TEST(times)
{
	static const struct {
		const char *text;
		int64_t seconds;
	} valid[] = {
		{ "1970-01-01T00:00:00Z", 0 },
		{ "2026-11-23T05:49:21Z", 1795412961 },
		{ "2026-11-23t05:49:21z", 1795412961 },
		{ "2026-11-23T05:49:21.5Z", 1795412961 },
		{ "2026-11-23T05:49:21.123456789123Z", 1795412961 },
		{ "2026-11-23T06:49:21+01:00", 1795412961 },
		{ "2026-11-22T23:49:21-06:00", 1795412961 },
		{ "2026-11-23T11:19:21.0+05:30", 1795412961 },
		{ "2024-02-29T00:00:00Z", 1709164800 },
		{ "2000-02-29T00:00:00Z", 951782400 },
		{ "2016-12-31T23:59:60Z", 1483228800 },
		{ "2017-01-01T00:59:60+01:00", 1483228800 },
		{ "9999-12-31T23:59:59Z", INT64_C(253402300799) },
		{ "0000-01-01T00:00:00Z", INT64_C(-62167219200) },
		{ "1969-12-31T23:59:59Z", -1 },
	};
	static const char *const wrong[] = {
		"",
		"2026",
		"2026-11-23",
		"2026-11-23T05:49Z",
		"2026-11-23T05:49:21",
		"2026-11-23 05:49:21Z",
		"2026-11-23T05:49:21Zx",
		"2026-11-23T05:49:21.Z",
		"2026-11-23T05:49:21,5Z",
		"2026-13-01T00:00:00Z",
		"2026-00-01T00:00:00Z",
		"2026-01-00T00:00:00Z",
		"2026-02-30T00:00:00Z",
		"2026-02-29T00:00:00Z",
		"1900-02-29T00:00:00Z",
		"2026-04-31T00:00:00Z",
		"2026-01-32T00:00:00Z",
		"2026-01-01T24:00:00Z",
		"2026-01-01T00:60:00Z",
		"2026-01-01T00:00:61Z",
		"2026-01-01T00:00:60Z",
		"2026-01-01T00:00:00+24:00",
		"2026-01-01T00:00:00+00:60",
		"2026-01-01T00:00:00+0100",
		"2026-01-01T00:00:00+1:00",
		"2026-01-01T00:00:00+01:00x",
		"2026-1-01T00:00:00Z",
		"26-01-01T00:00:00Z",
		"+2026-01-01T00:00:00Z",
		" 2026-01-01T00:00:00Z",
	};
	char text[NB_TIME_SIZE];

	for (size_t i = 0; i < COUNT(valid); i++) {
		int64_t seconds = -7;

		ck_assert_msg(!nb_time_parse(valid[i].text, &seconds), "%s", valid[i].text);
		ck_assert_int_eq(seconds, valid[i].seconds);
	}
	for (size_t i = 0; i < COUNT(wrong); i++) {
		int64_t seconds = -7;

		ck_assert_msg(nb_time_parse(wrong[i], &seconds) == -EINVAL, "%s", wrong[i]);
		ck_assert_int_eq(seconds, -7);
	}
	ck_assert_str_eq(nb_time_format(1795412961, text), "2026-11-23T05:49:21Z");
	ck_assert_str_eq(nb_time_format(-1, text), "1970-01-01T00:00:00Z");
	ck_assert_str_eq(nb_time_format(INT64_C(253402300799), text), "9999-12-31T23:59:59Z");
	ck_assert_str_eq(nb_time_format(INT64_MAX, text), "9999-12-31T23:59:59Z");
}
END_TEST

START_TEST(plain_words)
{
	static const char *const plain[] = { "a", "Z9", "br-app", "_x", ".x", "0", "a.b_c-d" };
	static const char *const wrong[] = { "",     "-f",   "a b",  "a;b", "$(x)",	"`x`",
					     "a|b",  "a\nb", "a\"b", "a'b", "\xc3\xa9", "a*",
					     "a\\b", "~",    "a/b",  "a&b", "a>b",	"#a",
					     "a{b}", "a!",   "a=b" };

	for (size_t i = 0; i < COUNT(plain); i++)
		ck_assert_msg(nb_is_plain_word(plain[i]), "%s", plain[i]);
	for (size_t i = 0; i < COUNT(wrong); i++)
		ck_assert_msg(!nb_is_plain_word(wrong[i]), "%s", wrong[i]);
}
END_TEST

START_TEST(settings)
{
	char buffer[NB_SETTING_SIZE];

	ck_assert_str_eq(nb_setting_text("br0", "rp_filter", buffer),
			 "net.ipv4.conf.br0.rp_filter");
	ck_assert_str_eq(nb_setting_text("br0.10", "rp_filter", buffer),
			 "net/ipv4/conf/br0.10/rp_filter");
	ck_assert_str_eq(nb_setting_text("abcdefghijkl.10", "route_localnet", buffer),
			 "net/ipv4/conf/abcdefghijkl.10/route_localnet");
}
END_TEST

START_TEST(nearest_names)
{
	static const char *const names[] = { "ollama", "postgresql",	  "mysql",
					     "redis",  "br-0123456789ab", "br-ba9876543210" };
	static const struct {
		const char *wanted;
		const char *nearest; /* NULL: none */
	} rows[] = {
		{ "ollama", "ollama" },
		{ "olama", "ollama" },
		{ "ollmaa", "ollama" },
		{ "postgres", "postgresql" },
		{ "postgersql", "postgresql" },
		{ "mysqld", "mysql" },
		{ "redsi", "redis" },
		{ "br-0123456789ac", "br-0123456789ab" },
		{ "br-b", "br-ba9876543210" },
		{ "br-0123", "br-0123456789ab" },
		{ "elasticsearch", NULL },
		{ "", NULL },
		{ "o", NULL },
		{ "xy", NULL },
	};
	char endless[300];

	for (size_t i = 0; i < COUNT(rows); i++) {
		size_t found = nb_nearest(rows[i].wanted, names, COUNT(names));

		if (!rows[i].nearest)
			ck_assert_msg(found == SIZE_MAX, "%s", rows[i].wanted);
		else
			ck_assert_msg(found != SIZE_MAX && !strcmp(names[found], rows[i].nearest),
				      "%s", rows[i].wanted);
	}
	memset(endless, 'a', sizeof(endless) - 1);
	endless[sizeof(endless) - 1] = '\0';
	ck_assert_uint_eq(nb_nearest(endless, names, COUNT(names)), SIZE_MAX);
	ck_assert_uint_eq(nb_nearest("ollama", NULL, 0), SIZE_MAX);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("words");

	unit_add(suite, "port_numbers", port_numbers);
	unit_add(suite, "targets", targets);
	unit_add(suite, "protocols", protocols);
	unit_add(suite, "port_words_valid", port_words_valid);
	unit_add(suite, "port_words_refused", port_words_refused);
	unit_add(suite, "durations", durations);
	unit_add(suite, "times", times);
	unit_add(suite, "plain_words", plain_words);
	unit_add(suite, "settings", settings);
	unit_add(suite, "nearest_names", nearest_names);
	return unit_run(suite);
}
