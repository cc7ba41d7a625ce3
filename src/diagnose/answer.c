/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a service says by itself to whoever connects: some refuse a caller that is not 127.0.0.1
 * before they are asked anything.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "diagnose.h"

/* The password first: without it whoever reaches Redis has all that is in it. */
const char nb_mend_redis[] =
	"give Redis a password: redis-cli config set requirepass PASSWORD (and in redis.conf), and "
	"tell the container; without one, only if it listens on 127.0.0.1 alone and all on the "
	"container's network may have it: redis-cli config set protected-mode no";

/* What refuses, and hangs up; another greeting before a close is no refusal. */
static const struct {
	const char *words;
	const char *mend;
} refusals[] = {
	{ "-DENIED", nb_mend_redis },
	{ "is not allowed to connect",
	  "let an account of the database in from the container's network alone: CREATE USER "
	  "NAME@'%m' and GRANT" },
	{ "is blocked because of many connection errors", "mysqladmin flush-hosts" },
	{ "denied", NULL },
	{ "forbidden", NULL },
	{ "not allowed", NULL },
	{ "not permitted", NULL },
	{ "refused", NULL },
	{ "rejected", NULL },
};

static const char usual_mend[] = "let the service accept the network of the container: it has a "
				 "list of the addresses, hosts "
				 "or accounts that it takes";

void nb_read_said(const char *said, size_t count, char *text, size_t size)
{
	size_t length = 0;

	for (size_t i = 0; i < count && length + 1 < size; i++) {
		if (isprint((unsigned char)said[i]))
			text[length++] = said[i];
		else if (isspace((unsigned char)said[i]) && length)
			text[length++] = ' ';
		else if (iscntrl((unsigned char)said[i]))
			length = 0;
	}
	while (length && text[length - 1] == ' ')
		length--;
	text[length] = '\0';
}

void nb_word_for_network(const struct nb_case *one, const char *words, char *buffer, size_t size)
{
	uint32_t mask = one->prefix_length ? UINT32_MAX << (32 - one->prefix_length) : 0;
	struct in_addr in = { .s_addr = htonl(one->address & mask) };
	char address[INET_ADDRSTRLEN], length[INET_ADDRSTRLEN];
	const char *place = strchr(words, '%');

	if (!place || !one->prefix_length) {
		snprintf(buffer, size, "%s", place ? usual_mend : words);
		return;
	}
	inet_ntop(AF_INET, &in, address, sizeof(address));
	in.s_addr = htonl(mask);
	if (place[1] == 'm')
		inet_ntop(AF_INET, &in, length, sizeof(length));
	else
		snprintf(length, sizeof(length), "%u", one->prefix_length);
	snprintf(buffer, size, "%.*s%s/%s%s", (int)(place - words), words, address, length,
		 place + 2);
}

/* NULL: it refuses nothing. */
static const char *find_mend(const char *text)
{
	if (!text[0])
		return usual_mend;
	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++)
		if (strcasestr(text, refusals[i].words))
			return refusals[i].mend ? refusals[i].mend : usual_mend;
	return NULL;
}

static void judge(struct nb_diagnosis *diagnosis, const struct nb_case *one)
{
	char text[NB_SAID_SIZE], target[NB_TARGET_SIZE];
	struct nb_cause *cause;
	const char *mend;

	nb_read_said(one->said, one->said_length, text, sizeof(text));
	mend = find_mend(text);
	if (!mend)
		return;
	cause = nb_blame_case(diagnosis, one, "service-refuses");
	if (!cause)
		return;
	cause->proven = true;
	nb_target_format(&one->mapping->target, target);
	if (text[0])
		snprintf(cause->what, sizeof(cause->what),
			 "the service on %s takes the connection, refuses, and hangs up", target);
	else
		snprintf(cause->what, sizeof(cause->what),
			 "the service on %s takes the connection, and hangs up at once", target);
	snprintf(cause->evidence, sizeof(cause->evidence), "a probe from %s, that sent nothing%s%s",
		 one->from, text[0] ? ": it said " : "", text);
	nb_word_for_network(one, mend, cause->mend, sizeof(cause->mend));
}

void nb_judge_answers(struct nb_diagnosis *diagnosis)
{
	for (size_t i = 0; i < diagnosis->case_count; i++) {
		const struct nb_case *one = &diagnosis->cases[i];

		if (one->tried && one->result == NB_PROBE_CONNECTED && one->closed)
			judge(diagnosis, one);
	}
}
