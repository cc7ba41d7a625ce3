/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Security modules: what AppArmor or SELinux denied the service, or nat-bridge itself, as the kernel
 * has logged it. A profile alone is no evidence: most services that have one work.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../model/text.h"
#include "diagnose.h"

#define KERNEL_LOG   "/dev/kmsg"
#define AUDIT_LOG    "/var/log/audit/audit.log" /* of auditd, which then has it alone */
#define TAIL	     (256 * 1024)
#define MOST_RECORDS 200000
#define MOST_DENIALS 256
#define RECENT_S     600 /* what is older may be mended */

struct denial {
	bool apparmor;
	bool network;	    /* it is about a socket of IPv4 or IPv6 */
	bool binds;	    /* a port was asked for, */
	uint16_t port;	    /* this one; host byte order */
	uint8_t protocol;   /* 0: it does not say */
	pid_t pid;	    /* as the kernel numbers it */
	int64_t at;	    /* seconds of the clock */
	char operation[32]; /* "bind"; "name_bind" */
	char subject[96];   /* profile; type of the process */
	char program[16];
};

struct denials {
	int64_t since; /* the host was started; what was before that is no longer so */
	struct denial items[MOST_DENIALS]; /* the latest ones */
	size_t count;			   /* that came; beyond MOST_DENIALS the oldest are gone */
};

/* The value of "key=value" or "key="value"" in a record. False: it has none. */
static bool read_field(const char *record, const char *key, char *ret, size_t size)
{
	size_t length = strlen(key);
	const char *end;

	ret[0] = '\0';
	for (const char *at = strstr(record, key); at; at = strstr(at + 1, key)) {
		if ((at > record && at[-1] != ' ') || at[length] != '=')
			continue;
		at += length + 1;
		end = *at == '"' ? strchr(++at, '"') : at + strcspn(at, " \n");
		if (!end)
			return false;
		snprintf(ret, size, "%.*s", (int)(end - at), at);
		return true;
	}
	return false;
}

static unsigned long read_number(const char *record, const char *key)
{
	char text[32];

	return read_field(record, key, text, sizeof(text)) ? strtoul(text, NULL, 10) : 0;
}

static bool is_socket(const char *class)
{
	return strcmp(class, "tcp_socket") == 0 || strcmp(class, "udp_socket") == 0;
}

/* "avc:  denied  { name_bind } for  pid=..." */
static bool read_avc(const char *record, struct denial *denial)
{
	const char *at = strstr(record, "avc:  denied  { ");
	char context[128], class[32], *type;

	if (!at || read_number(record, "permissive"))
		return false;
	at += strlen("avc:  denied  { ");
	snprintf(denial->operation, sizeof(denial->operation), "%.*s", (int)strcspn(at, " }"), at);
	read_field(record, "tclass", class, sizeof(class));
	denial->network = is_socket(class);
	denial->protocol = strcmp(class, "tcp_socket") == 0   ? IPPROTO_TCP
			   : strcmp(class, "udp_socket") == 0 ? IPPROTO_UDP
							      : 0;
	denial->binds = denial->network && strcmp(denial->operation, "name_bind") == 0;
	denial->port = (uint16_t)read_number(record, "src");
	/* "system_u:system_r:httpd_t:s0": what policies speak of is the type */
	read_field(record, "scontext", context, sizeof(context));
	type = strchr(context, ':');
	type = type ? strchr(type + 1, ':') : NULL;
	if (type)
		snprintf(denial->subject, sizeof(denial->subject), "%.*s",
			 (int)strcspn(type + 1, ":"), type + 1);
	return true;
}

static bool read_apparmor(const char *record, struct denial *denial)
{
	char family[16];

	if (!strstr(record, "apparmor=\"DENIED\""))
		return false;
	denial->apparmor = true;
	read_field(record, "operation", denial->operation, sizeof(denial->operation));
	read_field(record, "profile", denial->subject, sizeof(denial->subject));
	read_field(record, "family", family, sizeof(family));
	denial->network = strncmp(family, "inet", 4) == 0;
	denial->binds = denial->network && strcmp(denial->operation, "bind") == 0;
	denial->port = (uint16_t)read_number(record, "lport");
	denial->protocol = (uint8_t)read_number(record, "protocol");
	return true;
}

static void take(struct denials *denials, const char *record)
{
	struct denial denial = { 0 };
	const char *at = strstr(record, "audit(");

	if (!at || (!read_avc(record, &denial) && !read_apparmor(record, &denial)))
		return;
	denial.at = strtoll(at + strlen("audit("), NULL, 10);
	if (denial.at < denials->since)
		return;
	denial.pid = (pid_t)read_number(record, "pid");
	read_field(record, "comm", denial.program, sizeof(denial.program));
	denials->items[denials->count++ % MOST_DENIALS] = denial;
}

static bool begins(const char *text, const char *word)
{
	return strncmp(text, word, strlen(word)) == 0;
}

/*
 * "5,16690,1850511433,-;audit: type=1400 audit(...": of the kernel, for what does not come from it has
 * a facility; a message, for what a blank begins belongs to one; and the kernel's own words from the
 * beginning, for it logs words of users, too.
 */
static bool is_of_kernel(const char *line)
{
	const char *text = strchr(line, ';');

	return text && line[0] != ' ' && strtoul(line, NULL, 10) >> 3 == 0 &&
	       begins(text + 1, "audit: type=14");
}

/* "type=AVC msg=audit(...", perhaps behind the name of a host. A user's have types of their own. */
static bool is_of_audit(const char *line)
{
	if (begins(line, "node=")) {
		line += strcspn(line, " ");
		line += *line == ' ';
	}
	return begins(line, "type=AVC ");
}

static void take_lines(struct denials *denials, char *text, bool (*is)(const char *line))
{
	char *rest = NULL;

	for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		if (is(line))
			take(denials, line);
}

/* One record a read. */
static void read_kernel_log(struct denials *denials)
{
	int fd = open(KERNEL_LOG, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	char record[8192];

	for (int i = 0; fd >= 0 && i < MOST_RECORDS; i++) {
		ssize_t length = read(fd, record, sizeof(record) - 1);

		/* some were lost before they were read */
		if (length < 0 && (errno == EPIPE || errno == EINTR))
			continue;
		if (length <= 0)
			break;
		record[length] = '\0';
		take_lines(denials, record, is_of_kernel);
	}
	if (fd >= 0)
		close(fd);
}

static void read_audit_log(struct denials *denials)
{
	int fd = open(AUDIT_LOG, O_RDONLY | O_CLOEXEC);
	char *text = fd < 0 ? NULL : malloc(TAIL + 1);
	ssize_t length;
	off_t size;

	if (text) {
		size = lseek(fd, 0, SEEK_END);
		length = pread(fd, text, TAIL, size > TAIL ? size - TAIL : 0);
		text[length > 0 ? length : 0] = '\0';
		take_lines(denials, text, is_of_audit);
	}
	free(text);
	if (fd >= 0)
		close(fd);
}

static const char *word_module(const struct denial *denial)
{
	return denial->apparmor ? "AppArmor" : "SELinux";
}

static void word_evidence(const struct denial *denial, struct nb_cause *cause)
{
	char at[NB_TIME_SIZE];

	snprintf(cause->evidence, sizeof(cause->evidence),
		 "the kernel logged it at %s: %s of %s denied, %s %s",
		 nb_time_format(denial->at, at), denial->operation, denial->program,
		 denial->apparmor ? "profile" : "type", denial->subject);
}

static void word_mend(const struct denial *denial, struct nb_cause *cause)
{
	size_t stem = strlen(denial->subject);

	if (stem > 2 && strcmp(&denial->subject[stem - 2], "_t") == 0)
		stem -= 2;
	if (denial->apparmor)
		snprintf(cause->mend, sizeof(cause->mend),
			 "allow it in the profile %s under /etc/apparmor.d (aa-logprof asks, and "
			 "loads it)",
			 denial->subject);
	else if (denial->binds && nb_is_plain_word(denial->subject))
		snprintf(cause->mend, sizeof(cause->mend),
			 "give the port a type that %s may bind (semanage port -l): semanage port "
			 "-a "
			 "-t %.*s_port_t -p %s %u; then start the service",
			 denial->subject, (int)stem, denial->subject,
			 nb_protocol_name(denial->protocol), denial->port);
	else if (denial->binds)
		snprintf(
			cause->mend, sizeof(cause->mend),
			"give the port a type that the service's may bind (semanage port -l), then "
			"start the service");
	else if (nb_is_plain_word(denial->program))
		snprintf(cause->mend, sizeof(cause->mend),
			 "ausearch -m avc -c %s | audit2allow -M local, read local.te, then: "
			 "semodule "
			 "-i local.pp",
			 denial->program);
	else
		snprintf(
			cause->mend, sizeof(cause->mend),
			"read what was denied (ausearch -m avc), and allow it in SELinux's policy");
}

/* The latest that @is of the case; NULL: none. */
static const struct denial *find(const struct denials *denials, const struct nb_case *one,
				 bool (*is)(const struct denial *denial, const struct nb_case *one))
{
	size_t oldest = denials->count > MOST_DENIALS ? denials->count - MOST_DENIALS : 0;

	for (size_t i = denials->count; i-- > oldest;)
		if (is(&denials->items[i % MOST_DENIALS], one))
			return &denials->items[i % MOST_DENIALS];
	return NULL;
}

static bool is_recent(const struct denial *denial)
{
	return time(NULL) - denial->at < RECENT_S;
}

static bool is_of_port(const struct denial *denial, const struct nb_case *one)
{
	return denial->binds && denial->port == one->mapping->target.port &&
	       (!denial->protocol || denial->protocol == one->mapping->protocol);
}

static bool is_of_listener(const struct denial *denial, const struct nb_case *one)
{
	return denial->network && one->program_pid && denial->pid == one->program_pid &&
	       is_recent(denial);
}

static bool is_our_own(const struct denial *denial, const struct nb_case *one)
{
	(void)one;
	return strcmp(denial->program, "nat-bridge") == 0 && is_recent(denial);
}

/* Whoever was not let have the port may have it by now, and not be asked by the probe. */
static void check_port(struct nb_diagnosis *diagnosis, const struct denials *denials,
		       const struct nb_case *one)
{
	const struct denial *denial = find(denials, one, is_of_port);
	struct nb_cause *cause;

	if (!denial || one->program_pid)
		return;
	cause = nb_blame_case(diagnosis, one, "service-denied");
	if (!cause)
		return;
	cause->claim = NB_CLAIMS_MAYBE;
	snprintf(cause->what, sizeof(cause->what), "%s did not let %s listen on port %u/%s",
		 word_module(denial), denial->program, one->mapping->target.port,
		 nb_protocol_name(one->mapping->protocol));
	word_evidence(denial, cause);
	word_mend(denial, cause);
}

static void check_listener(struct nb_diagnosis *diagnosis, const struct denials *denials,
			   const struct nb_case *one)
{
	const struct denial *denial = find(denials, one, is_of_listener);
	struct nb_cause *cause;

	if (!denial)
		return;
	cause = nb_blame_case(diagnosis, one, "service-denied");
	if (!cause)
		return;
	/* the kernel takes connections for it, so the probe does not tell */
	cause->severity = NB_WARNING;
	snprintf(cause->what, sizeof(cause->what),
		 "%s does not let %s, the service, do what it does", word_module(denial),
		 denial->program);
	word_evidence(denial, cause);
	word_mend(denial, cause);
}

static void check_ourselves(struct nb_diagnosis *diagnosis, const struct denials *denials)
{
	const struct denial *denial = find(denials, NULL, is_our_own);
	struct nb_cause *cause;

	if (!denial)
		return;
	cause = nb_blame_host(diagnosis, "self-denied");
	if (!cause)
		return;
	cause->severity = NB_WARNING;
	snprintf(cause->what, sizeof(cause->what), "%s denied nat-bridge itself something",
		 word_module(denial));
	word_evidence(denial, cause);
	word_mend(denial, cause);
}

bool nb_read_confinement(pid_t pid, char *buffer, size_t size)
{
	char path[48];

	snprintf(path, sizeof(path), "/proc/%d/attr/current", (int)pid);
	return pid && nb_read_word(path, buffer, size) && strncmp(buffer, "unconfined", 10) != 0;
}

static int64_t boot_time(void)
{
	struct timespec up;

	return clock_gettime(CLOCK_BOOTTIME, &up) < 0 ? 0 : time(NULL) - up.tv_sec - 1;
}

void nb_check_security(struct nb_diagnosis *diagnosis)
{
	struct denials *denials = calloc(1, sizeof(*denials));

	if (!denials) {
		diagnosis->no_memory = true;
		return;
	}
	denials->since = boot_time();
	read_kernel_log(denials);
	read_audit_log(denials);
	check_ourselves(diagnosis, denials);
	for (size_t i = 0; denials->count && i < diagnosis->case_count; i++) {
		const struct nb_case *one = &diagnosis->cases[i];

		if (!one->in_force)
			continue;
		check_port(diagnosis, denials, one);
		check_listener(diagnosis, denials, one);
	}
	free(denials);
}
