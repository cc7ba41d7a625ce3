/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a report leaves out: names, addresses that others can reach, secrets. */
#include <string.h>

#include "nat-bridge/mask.h"
#include "unit.h"

static struct nb_mask mask;

static void start(void)
{
	memset(&mask, 0, sizeof(mask));
	nb_mask_add(&mask, "br", "br-acme");
	nb_mask_add(&mask, "network", "payroll");
	nb_mask_add(&mask, "network", "payroll-test");
	nb_mask_add(&mask, "container", "web");
	nb_mask_add(&mask, "host", "athena");
}

static void stop(void)
{
	nb_mask_clear(&mask);
}

static void becomes(const char *text, const char *expected)
{
	char *masked = nb_mask_text(&mask, text);

	ck_assert_str_eq(masked, expected);
	free(masked);
}

/* Nothing of @secret may be in what becomes of @text. */
static void hides(const char *text, const char *secret)
{
	char *masked = nb_mask_text(&mask, text);

	ck_assert_msg(masked && !strstr(masked, secret), "%s: %s", text, masked);
	free(masked);
}

START_TEST(a_name_has_one_placeholder)
{
	becomes("br-acme of payroll, payroll-test; web on br-acme",
		"br-1 of network-1, network-2; container-1 on br-1");
	becomes("docker:payroll 80/tcp on br-acme.", "docker:network-1 80/tcp on br-1.");
	/* the same in the next text, and when it is added again */
	nb_mask_add(&mask, "other", "br-acme");
	becomes("{\"bridge\": \"br-acme\", \"host\": \"athena\"}",
		"{\"bridge\": \"br-1\", \"host\": \"host-1\"}");
}
END_TEST

START_TEST(a_name_is_a_word_of_its_own)
{
	becomes("web.json webs cobweb web-1 web", "web.json webs cobweb web-1 container-1");
	becomes("(web) 'web' \"web\" web:80 web/web",
		"(container-1) 'container-1' \"container-1\" container-1:80 "
		"container-1/container-1");
}
END_TEST

START_TEST(what_every_host_has_stays)
{
	nb_mask_add(&mask, "br", "docker0");
	nb_mask_add(&mask, "network", "bridge");
	nb_mask_add(&mask, "network", "");
	becomes("docker0, bridge, lo", "docker0, bridge, lo");
}
END_TEST

START_TEST(public_addresses)
{
	becomes("from 8.8.4.4 to 8.8.4.4:53, not 9.9.9.9.",
		"from address-1 to address-1:53, not address-2.");
	becomes("8.8.4.0/24", "address-3/24");
	becomes("2a01:4f8:1:2::3 [2001:db8::1]:80", "address-4 [address-5]:80");
	becomes("52:54:00:ab:cd:ef", "mac-1");
}
END_TEST

START_TEST(other_addresses_stay)
{
	static const char text[] = "127.0.0.1:8088 10.1.2.3 172.30.0.0/24 192.168.1.1 169.254.1.1 "
				   "100.64.0.1 198.18.0.1 0.0.0.0 ::1 fe80::1 fd00::1 1.2.3";

	becomes(text, text);
	becomes("172.32.0.1", "address-1");
}
END_TEST

START_TEST(secrets_of_rules_and_environments)
{
	static const char *const texts[] = {
		"drop comment \"password=hunter2\"",
		"DB_PASSWORD=hunter2",
		"Authorization: hunter2",
		"Authorization: Bearer hunter2",
		"bearer hunter2",
		"\"token\": \"hunter2\"",
		"comment \\\"api_key: hunter2\\\"",
		"GITHUB_TOKEN=hunter2 nat-bridge",
		"Secret = 'hunter2'",
		"--password hunter2",
		"postgres://app:hunter2@db/x",
		"https://hunter2@git.example/x.git",
	};

	for (size_t i = 0; i < COUNT(texts); i++)
		hides(texts[i], "hunter2");
	becomes("token=abc, then", "token=(masked), then");
	becomes("the token ring", "the token (masked)");
	becomes("tokens", "tokens");
}
END_TEST

START_TEST(homes)
{
	becomes("/home/alice/rules.d and /home/alice", "/home/user-1/rules.d and /home/user-1");
	becomes("/homes/bob", "/homes/bob");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("mask");
	const TTest *const tests[] = {
		a_name_has_one_placeholder,
		a_name_is_a_word_of_its_own,
		what_every_host_has_stays,
		public_addresses,
		other_addresses_stay,
		secrets_of_rules_and_environments,
		homes,
	};

	for (size_t i = 0; i < COUNT(tests); i++)
		unit_add_between(suite, "mask", tests[i], start, stop);
	return unit_run(suite);
}
