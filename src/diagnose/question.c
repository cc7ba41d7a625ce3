/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * --payload: what a service answers when it is asked something, from where the container is.
 *
 * A refusal alone says little: many answer 403 to whoever asks for "/". So what is refused is asked
 * again, by the name that the host itself would use, and from the host. Which of these is answered
 * otherwise says what the service minds: the name, or the address. If none is, it refuses
 * everybody alike, and that is no matter of a mapping.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "diagnose.h"
#include "nat-bridge/payload.h"

#define HOST_NAME   "host.docker.internal"
#define CONNECT_MS  1000
#define PATIENCE_MS 3000 /* for an answer: some have a name to look up, or a page to make */
#define SAID_SIZE   2048
#define AT_ONCE	    50

/* In which way it is asked. */
enum way {
	WAY_CONTAINER, /* from the container's place, by a container's name for the host */
	WAY_NAME,      /* from there, by the host's own name for itself */
	WAY_HOST,      /* from the host, by that name */
	WAY_COUNT,
};

struct question {
	struct nb_case *of;
	enum nb_dialect dialect;
	char payload[WAY_COUNT][NB_PAYLOAD_SIZE];
	char said[WAY_COUNT][SAID_SIZE];
	struct nb_probe probes[WAY_COUNT];
	bool asked[WAY_COUNT];
};

static void prepare(struct question *question, enum way way)
{
	const struct nb_mapping *mapping = question->of->mapping;
	bool from_host = way == WAY_HOST;
	char host[64];

	if (way == WAY_CONTAINER)
		snprintf(host, sizeof(host), HOST_NAME ":%u", mapping->port);
	else
		snprintf(host, sizeof(host), "localhost:%u", mapping->target.port);
	question->probes[way] = (struct nb_probe){
		.payload = question->payload[way],
		.length = nb_payload_write(question->dialect, host, question->payload[way]),
		.address = from_host ? mapping->target.address : question->of->address,
		.port = from_host ? mapping->target.port : mapping->port,
		.protocol = IPPROTO_TCP,
		.patience_ms = PATIENCE_MS,
		.said = question->said[way],
		.said_size = SAID_SIZE,
	};
}

/* The status of an answer of HTTP; 0: it is none. */
static unsigned int read_status(const struct nb_probe *probe)
{
	unsigned int status;

	return sscanf(probe->said, "HTTP/1.%*1u %3u", &status) == 1 ? status : 0;
}

/* A field of an error of PostgreSQL's: "CODE\0" behind its letter. "": it is none, or not there. */
static const char *read_error(const struct nb_probe *probe, char field)
{
	size_t length = probe->said_length;

	if (length < 6 || probe->said[0] != 'E')
		return "";
	for (size_t i = 5; i < length && probe->said[i]; i += strlen(&probe->said[i]) + 1)
		if (probe->said[i] == field)
			return &probe->said[i + 1];
	return "";
}

static bool is_refused(const struct question *question, enum way way)
{
	const struct nb_probe *probe = &question->probes[way];
	unsigned int status;

	if (probe->result != NB_PROBE_CONNECTED)
		return false;
	switch (question->dialect) {
	case NB_DIALECT_HTTP:
		status = read_status(probe);
		return status == 400 || status == 401 || status == 403 || status == 421 ||
		       (probe->said_length == 0 && probe->closed);
	case NB_DIALECT_POSTGRESQL:
		/* of a role that is not there it says the same, elsewhere */
		return strcmp(read_error(probe, 'C'), "28000") == 0 &&
		       strcmp(read_error(probe, 'R'), "ClientAuthentication") == 0;
	case NB_DIALECT_REDIS:
		return probe->said[0] == '-';
	default:
		return false;
	}
}

/* It was asked so, and answered as one that takes the question. */
static bool is_taken(const struct question *question, enum way way)
{
	const struct nb_probe *probe = &question->probes[way];

	return question->asked[way] && probe->result == NB_PROBE_CONNECTED && probe->said_length &&
	       !is_refused(question, way);
}

/* --- What is said of it --- */

/* Where its words begin: of a page of HTML its title, as a rule, or the first text. */
static const char *find_body(const struct nb_probe *probe)
{
	const char *body = strstr(probe->said, "\r\n\r\n"), *title;

	if (!body)
		return "";
	body += 4;
	title = strcasestr(body, "<title>");
	if (title)
		return title + strlen("<title>");
	for (body += strspn(body, " \t\r\n"); *body == '<'; body += strspn(body, "> \t\r\n"))
		body += strcspn(body, ">");
	return body;
}

/* "HTTP 403, Blocked request. This host is not allowed.", "FATAL: no pg_hba.conf entry for ..." */
static void word_answer(const struct question *question, enum way way, char *text, size_t size)
{
	const struct nb_probe *probe = &question->probes[way];
	const char *body = find_body(probe);
	char line[200] = "";

	if (probe->said_length == 0) {
		snprintf(text, size, "nothing, and it hung up");
	} else if (question->dialect == NB_DIALECT_HTTP && read_status(probe)) {
		nb_read_said(body, strcspn(body, "<"), line, sizeof(line));
		snprintf(text, size, "HTTP %u%s%.*s", read_status(probe), line[0] ? ", " : "",
			 (int)sizeof(line), line);
	} else if (question->dialect == NB_DIALECT_POSTGRESQL && read_error(probe, 'M')[0]) {
		nb_read_said(read_error(probe, 'M'), strlen(read_error(probe, 'M')), line,
			     sizeof(line));
		snprintf(text, size, "%s %s", read_error(probe, 'C'), line);
	} else {
		nb_read_said(probe->said, probe->said_length, line, sizeof(line));
		snprintf(text, size, "%s", line);
	}
}

static void word_evidence(const struct question *question, enum way other, struct nb_cause *cause)
{
	static const char *const otherwise[] = {
		[WAY_NAME] = "by the name localhost it answers from there, too",
		[WAY_HOST] = "from the host it answers",
	};
	char answer[300];
	char target[NB_TARGET_SIZE];

	word_answer(question, WAY_CONTAINER, answer, sizeof(answer));
	nb_target_format(&question->of->mapping->target, target);
	if (question->dialect == NB_DIALECT_HTTP)
		snprintf(cause->evidence, sizeof(cause->evidence),
			 "GET / from %s with Host: " HOST_NAME ":%u: %s; %s", question->of->from,
			 question->of->mapping->port, answer, otherwise[other]);
	else
		snprintf(cause->evidence, sizeof(cause->evidence), "asked from %s: %s; %s",
			 question->of->from, answer, otherwise[other]);
}

/* A service, as one knows it by its program, or by a word in its answer. */
struct mend {
	const char *program; /* how its name begins, or NULL */
	const char *word;    /* in the answer to the container, or NULL */
	const char *mend;
};

static const char *find_mend(const struct question *question, const struct mend *mends,
			     size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct mend *mend = &mends[i];

		if ((!mend->program ||
		     strncmp(question->of->program, mend->program, strlen(mend->program)) == 0) &&
		    (!mend->word || strcasestr(question->probes[WAY_CONTAINER].said, mend->word)))
			return mend->mend;
	}
	return NULL;
}

static void mend_name(const struct question *question, struct nb_cause *cause)
{
	static const struct mend mends[] = {
		{ NULL, "allowedHosts",
		  "Vite: server: { allowedHosts: ['" HOST_NAME "'] } in vite.config" },
		{ NULL, "Blocked hosts",
		  "Rails: config.hosts << \"" HOST_NAME "\" in the environment's file" },
		{ NULL, "DisallowedHost", "Django: ALLOWED_HOSTS = ['" HOST_NAME "', ...]" },
		{ NULL, "Host check error",
		  "Syncthing: <insecureSkipHostcheck>true</insecureSkipHostcheck> under <gui>" },
		{ NULL, "421 Misdirected Request",
		  "let the server take the name: of the MCP SDKs TransportSecuritySettings("
		  "allowed_hosts=[\"" HOST_NAME ":*\"])" },
		{ NULL, "Invalid Host header",
		  "webpack-dev-server: devServer: { allowedHosts: ['" HOST_NAME "'] }" },
		{ "jupyter", NULL,
		  "Jupyter: c.ServerApp.local_hostnames = ['localhost', '" HOST_NAME "']" },
		{ NULL, "TornadoServer",
		  "Jupyter: c.ServerApp.local_hostnames = ['localhost', '" HOST_NAME "']" },
		{ "ollama", NULL,
		  "a newer Ollama takes the name; of a browser's Origin it asks "
		  "OLLAMA_ORIGINS=http://" HOST_NAME ":*" },
	};
	const char *mend = find_mend(question, mends, sizeof(mends) / sizeof(mends[0]));

	if (mend)
		snprintf(cause->mend, sizeof(cause->mend), "%s", mend);
	else
		snprintf(cause->mend, sizeof(cause->mend),
			 "let the service take the name " HOST_NAME
			 " (mostly called allowed hosts, "
			 "or trusted hosts), or send 'Host: localhost:%u' along",
			 question->of->mapping->target.port);
}

static void blame_name(struct nb_diagnosis *diagnosis, const struct question *question)
{
	struct nb_cause *cause = nb_blame_case(diagnosis, question->of, "service-name");
	char target[NB_TARGET_SIZE];

	if (!cause)
		return;
	cause->proven = true;
	snprintf(cause->what, sizeof(cause->what),
		 "the service on %s refuses requests for the name " HOST_NAME,
		 nb_target_format(&question->of->mapping->target, target));
	word_evidence(question, WAY_NAME, cause);
	mend_name(question, cause);
}

static void mend_address(const struct question *question, struct nb_cause *cause)
{
	static const struct mend mends[] = {
		{ "postgres", NULL,
		  "a line in pg_hba.conf (psql -c 'show hba_file' says where): host all all %s "
		  "scram-sha-256; then: psql -c 'select pg_reload_conf()'" },
		{ "pgbouncer", NULL,
		  "a line in its auth_hba_file: host all all %s scram-sha-256; then: RELOAD" },
		{ NULL, "Transmission",
		  "Transmission: \"rpc-whitelist\" in settings.json, while it is stopped; it wants "
		  "%s "
		  "as a pattern with *" },
		{ "nginx", NULL, "allow %s; beside the allow 127.0.0.1; of nginx's configuration" },
		{ "apache2", NULL, "Require ip %s beside the Require local of Apache's" },
		{ "httpd", NULL, "Require ip %s beside the Require local of Apache's" },
		{ "redis", NULL, nb_mend_redis },
	};
	const char *mend = find_mend(question, mends, sizeof(mends) / sizeof(mends[0]));

	if (!mend)
		mend = "let the service accept %s: it has a list of the addresses that it takes";
	nb_word_for_network(question->of, mend, cause->mend, sizeof(cause->mend));
}

static void blame_address(struct nb_diagnosis *diagnosis, const struct question *question)
{
	struct nb_cause *cause;
	char target[NB_TARGET_SIZE];

	/* it hangs up by itself, too, and that is said already */
	if (nb_is_blamed(diagnosis, question->of, "service-refuses"))
		return;
	cause = nb_blame_case(diagnosis, question->of, "service-refuses");
	if (!cause)
		return;
	cause->proven = true;
	nb_target_format(&question->of->mapping->target, target);
	if (question->dialect == NB_DIALECT_POSTGRESQL)
		snprintf(cause->what, sizeof(cause->what),
			 "PostgreSQL on %s has no entry in pg_hba.conf by which it would take the "
			 "container (asked for user and database " NB_PAYLOAD_POSTGRESQL_USER
			 ", without TLS)",
			 target);
	else
		snprintf(cause->what, sizeof(cause->what),
			 "the service on %s refuses what does not come from this host", target);
	word_evidence(question, WAY_HOST, cause);
	mend_address(question, cause);
}

/* Everybody is refused alike. Only what asks for credentials, or for a name, is worth a word. */
static void warn_asks(struct nb_diagnosis *diagnosis, const struct question *question)
{
	unsigned int status = read_status(&question->probes[WAY_CONTAINER]);
	bool redis = question->dialect == NB_DIALECT_REDIS &&
		     strncmp(question->probes[WAY_CONTAINER].said, "-NOAUTH", 7) == 0;
	struct nb_cause *cause;
	char target[NB_TARGET_SIZE], answer[300];

	if (status != 401 && status != 421 && !redis)
		return;
	cause = nb_blame_case(diagnosis, question->of, "service-asks");
	if (!cause)
		return;
	cause->severity = NB_WARNING;
	snprintf(cause->what, sizeof(cause->what),
		 "the service on %s wants %s, of the host as well",
		 nb_target_format(&question->of->mapping->target, target),
		 status == 421 ? "to be called by another name" : "credentials");
	word_answer(question, WAY_CONTAINER, answer, sizeof(answer));
	snprintf(cause->evidence, sizeof(cause->evidence), "asked from %s: %s", question->of->from,
		 answer);
	snprintf(cause->mend, sizeof(cause->mend),
		 status == 421 ? "send the Host header along that the service has in its "
				 "configuration"
			       : "give the container the password, key or token that the service "
				 "asks for");
}

static void judge(struct nb_diagnosis *diagnosis, const struct question *question)
{
	if (!is_refused(question, WAY_CONTAINER))
		return;
	if (is_taken(question, WAY_NAME))
		blame_name(diagnosis, question);
	else if (is_taken(question, WAY_HOST))
		blame_address(diagnosis, question);
	else
		warn_asks(diagnosis, question);
}

/* --- Asking --- */

/* All in the first way, in the others what was refused. Returns 0 or -errno. */
static int ask(struct question *questions, size_t count, enum way way, struct nb_probe_place *place,
	       struct nb_error *err)
{
	struct nb_probe probes[AT_ONCE];
	size_t of[AT_ONCE], many = 0;
	int r;

	for (size_t i = 0; i < count; i++) {
		struct question *question = &questions[i];

		/* other names are HTTP's alone */
		if (way != WAY_CONTAINER &&
		    (!is_refused(question, WAY_CONTAINER) ||
		     (way == WAY_NAME && question->dialect != NB_DIALECT_HTTP)))
			continue;
		prepare(question, way);
		question->asked[way] = true;
		of[many] = i;
		probes[many++] = question->probes[way];
	}
	if (many == 0)
		return 0;
	r = nb_probe_run(way == WAY_HOST ? NULL : place, probes, many, CONNECT_MS, err);
	for (size_t i = 0; i < many; i++)
		questions[of[i]].probes[way] = probes[i];
	return r;
}

static void question_some(struct nb_diagnosis *diagnosis, struct nb_probe_place *place,
			  struct question *questions, size_t count)
{
	struct nb_error error;
	int r = 0;

	for (int way = 0; r == 0 && way < WAY_COUNT; way++)
		r = ask(questions, count, (enum way)way, place, &error);
	if (r < 0) {
		nb_warn(diagnosis->warnings, "services were not asked: %s", error.message);
		return;
	}
	for (size_t i = 0; i < count; i++)
		judge(diagnosis, &questions[i]);
}

/* Who speaks first would not understand; who hangs up has said what he thinks. */
static bool is_to_be_asked(const struct nb_case *one)
{
	return one->tried && one->result == NB_PROBE_CONNECTED && !one->said_length && !one->closed;
}

void nb_question_cases(struct nb_diagnosis *diagnosis, struct nb_probe_place *place,
		       const struct nb_case *first)
{
	struct question *questions = calloc(AT_ONCE, sizeof(*questions));
	size_t many = 0;

	if (!questions) {
		diagnosis->no_memory = true;
		return;
	}
	for (size_t i = 0; i < diagnosis->case_count; i++) {
		struct nb_case *one = &diagnosis->cases[i];

		if (!is_to_be_asked(one) || strcmp(one->bridge, first->bridge) != 0)
			continue;
		questions[many++] = (struct question){
			.of = one,
			.dialect = nb_payload_dialect(one->mapping->protocol,
						      one->mapping->target.port, one->program),
		};
		if (many == AT_ONCE) {
			question_some(diagnosis, place, questions, many);
			many = 0;
		}
	}
	question_some(diagnosis, place, questions, many);
	free(questions);
}
