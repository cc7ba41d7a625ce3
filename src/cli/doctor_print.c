/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What doctor says: on a screen, and in JSON. */
#include <arpa/inet.h>
#include <string.h>

#include "../firewall/tell.h"
#include "doctor.h"
#include "doctor_json.h"
#include "json.h"
#include "screen.h"

#define MOST_TRIED 20 /* lines; more are counted */
#define INDENT	   10

/* --- JSON --- */

static cJSON *cause_to_json(const struct nb_cause *cause)
{
	cJSON *object = cJSON_CreateObject();

	cJSON_AddStringToObject(object, "code", cause->code);
	cJSON_AddStringToObject(object, "severity",
				cause->severity == NB_PROBLEM ? "problem" : "warning");
	nb_json_add_text(object, "network", cause->network);
	nb_json_add_count(object, "port", cause->port != 0, cause->port);
	nb_json_add_text(object, "protocol",
			 cause->port ? nb_protocol_name(cause->protocol) : NULL);
	/* names that containers have chosen are in them, and may be cut inside a character */
	nb_json_add_line(object, "what", cause->what);
	nb_json_add_line(object, "evidence", cause->evidence);
	nb_json_add_line(object, "why", cause->why);
	nb_json_add_line(object, "mend", cause->mend);
	/* what can be typed as it stands */
	nb_json_add_text(object, "command",
			 nb_text_command(cause->mend) == cause->mend ? cause->mend : NULL);
	cJSON_AddBoolToObject(object, "ours", cause->ours);
	cJSON_AddBoolToObject(object, "fixed", cause->fixed);
	return object;
}

static const char *word_dialled(const struct nb_case *one, char *buffer, size_t size)
{
	struct in_addr in = { .s_addr = htonl(one->address) };
	char address[INET_ADDRSTRLEN];

	snprintf(buffer, size, "%s:%u", inet_ntop(AF_INET, &in, address, sizeof(address)),
		 one->mapping->port);
	return buffer;
}

static cJSON *probe_to_json(const struct nb_case *one)
{
	const struct nb_mapping *mapping = one->mapping;
	const struct nb_trace_rule *drop = &one->flow.drop;
	char network[NB_NETWORK_SIZE], target[NB_TARGET_SIZE], to[32];
	cJSON *object = cJSON_CreateObject(), *rule;

	cJSON_AddStringToObject(object, "network", nb_network_format(&mapping->network, network));
	cJSON_AddStringToObject(object, "bridge", one->bridge);
	cJSON_AddStringToObject(object, "protocol", nb_protocol_name(mapping->protocol));
	cJSON_AddNumberToObject(object, "port", mapping->port);
	cJSON_AddStringToObject(object, "target", nb_target_format(&mapping->target, target));
	nb_json_add_text(object, "from", one->from);
	cJSON_AddStringToObject(object, "to", word_dialled(one, to, sizeof(to)));
	cJSON_AddStringToObject(object, "result", nb_probe_word(one->result));
	if (!one->traced || !drop->family) {
		cJSON_AddNullToObject(object, "dropped_by");
		return object;
	}
	rule = cJSON_AddObjectToObject(object, "dropped_by");
	cJSON_AddStringToObject(rule, "family", nb_family_name(drop->family));
	nb_json_add_text(rule, "table", drop->table);
	nb_json_add_text(rule, "chain", drop->chain);
	nb_json_add_count(rule, "handle", drop->handle != 0, drop->handle);
	nb_json_add_text(rule, "rule", one->rule);
	return object;
}

cJSON *nb_doctor_to_json(const struct nb_run *run, const struct nb_examination *examination)
{
	const struct nb_diagnosis *diagnosis = &examination->diagnosis;
	cJSON *object = cJSON_CreateObject(), *array;

	if (nb_doctor_is_known(examination))
		cJSON_AddBoolToObject(object, "healthy", nb_doctor_problems(examination) == 0);
	else
		cJSON_AddNullToObject(object, "healthy");
	array = cJSON_AddArrayToObject(object, "findings");
	for (size_t i = 0; i < diagnosis->causes.count; i++)
		cJSON_AddItemToArray(array, cause_to_json(&diagnosis->causes.items[i]));
	array = cJSON_AddArrayToObject(object, "probes");
	for (size_t i = 0; i < diagnosis->case_count; i++)
		if (diagnosis->cases[i].tried)
			cJSON_AddItemToArray(array, probe_to_json(&diagnosis->cases[i]));
	nb_json_add_warnings(object, run);
	return object;
}

/* --- A screen --- */

static void print_part(const struct nb_screen *screen, const char *word, enum nb_paint paint,
		       const char *text)
{
	if (!text[0])
		return;
	fprintf(screen->out, "    %-*s", INDENT - 4, word);
	nb_screen_wrap(screen, paint, NULL, INDENT, text);
}

static void print_cause(const struct nb_screen *screen, const struct nb_cause *cause)
{
	bool problem = cause->severity == NB_PROBLEM && !cause->fixed;
	enum nb_paint paint = cause->fixed ? NB_PAINT_GOOD : problem ? NB_PAINT_BAD : NB_PAINT_WARN;
	enum nb_glyph glyph = cause->fixed ? NB_GLYPH_GOOD : problem ? NB_GLYPH_BAD : NB_GLYPH_WARN;
	char head[64];

	snprintf(head, sizeof(head), "%s %s: ", nb_glyph(screen, glyph), cause->code);
	nb_screen_paint(screen, paint, head);
	nb_screen_wrap(screen, NB_PAINT_NONE, NULL, nb_text_columns(head), cause->what);
	print_part(screen, "seen", NB_PAINT_NONE, cause->evidence);
	print_part(screen, "why", NB_PAINT_FAINT, cause->why);
	if (cause->mend[0]) {
		fprintf(screen->out, "    %-*s", INDENT - 4, cause->fixed ? "done" : "mend");
		nb_screen_advise(screen, NB_PAINT_HEAD, INDENT, cause->mend);
	}
	fputc('\n', screen->out);
}

static size_t count_tried(const struct nb_diagnosis *diagnosis)
{
	size_t count = 0;

	for (size_t i = 0; i < diagnosis->case_count; i++)
		count += diagnosis->cases[i].tried;
	return count;
}

static void print_tried(const struct nb_screen *screen, const struct nb_diagnosis *diagnosis)
{
	size_t tried = count_tried(diagnosis), works = 0;

	for (size_t i = 0; i < diagnosis->case_count; i++) {
		const struct nb_case *one = &diagnosis->cases[i];
		char network[NB_NETWORK_SIZE], to[32];
		bool good = nb_case_works(one);

		works += good;
		/* of many only what does not work */
		if (!one->tried || (good && tried > MOST_TRIED))
			continue;
		nb_screen_paint(screen, good ? NB_PAINT_GOOD : NB_PAINT_BAD,
				nb_glyph(screen, good ? NB_GLYPH_GOOD : NB_GLYPH_BAD));
		fprintf(screen->out, " %s, from %s to %s/%s: %s\n",
			nb_network_format(&one->mapping->network, network), one->from,
			word_dialled(one, to, sizeof(to)), nb_protocol_name(one->mapping->protocol),
			good && one->result == NB_PROBE_SENT ? "delivered" : nb_case_word(one));
	}
	if (tried > MOST_TRIED)
		fprintf(screen->out, "%zu mappings were tried, %zu of them are reached\n", tried,
			works);
	if (tried)
		fputc('\n', screen->out);
}

static bool has_connected(const struct nb_diagnosis *diagnosis)
{
	for (size_t i = 0; i < diagnosis->case_count; i++)
		if (diagnosis->cases[i].tried && diagnosis->cases[i].result == NB_PROBE_CONNECTED &&
		    diagnosis->cases[i].taken != NB_TAKEN_WAITS)
			return true;
	return false;
}

static bool has_failed(const struct nb_diagnosis *diagnosis)
{
	for (size_t i = 0; i < diagnosis->case_count; i++)
		if (diagnosis->cases[i].tried && !nb_case_works(&diagnosis->cases[i]))
			return true;
	return false;
}

static void print_sum(const struct nb_screen *screen, const struct nb_examination *examination)
{
	const struct nb_diagnosis *diagnosis = &examination->diagnosis;
	size_t problems = nb_doctor_problems(examination), warnings = 0, fixed = 0;

	for (size_t i = 0; i < diagnosis->causes.count; i++) {
		const struct nb_cause *cause = &diagnosis->causes.items[i];

		fixed += cause->fixed;
		warnings += cause->severity == NB_WARNING && !cause->fixed;
	}
	if (problems)
		fprintf(screen->out, "%zu problem%s", problems, problems == 1 ? "" : "s");
	else if (!nb_doctor_is_known(examination))
		fputs("not known: nothing was found in what this user may see; only root may see "
		      "the rest, and probe",
		      screen->out);
	else if (!diagnosis->may_probe)
		fputs("nothing found, as far as this can be seen without a probe", screen->out);
	else
		fputs("healthy", screen->out);
	if (warnings)
		fprintf(screen->out, ", %zu warning%s", warnings, warnings == 1 ? "" : "s");
	if (fixed)
		fprintf(screen->out, ", %zu mended", fixed);
	fputc('\n', screen->out);
	if (diagnosis->no_forwarding && has_failed(diagnosis))
		nb_screen_wrap(
			screen, NB_PAINT_FAINT, NULL, 0,
			"net.ipv4.ip_forward is 0, and does not matter: what is to this host "
			"is not forwarded");
	if (!problems && !diagnosis->payload && has_connected(diagnosis))
		nb_screen_wrap(screen, NB_PAINT_FAINT, NULL, 0,
			       "services take connections; what they answer was not asked: "
			       "--payload");
}

int nb_print_doctor(struct nb_run *run, const struct nb_examination *examination,
		    enum nb_status written)
{
	const struct nb_cause_list *causes = &examination->diagnosis.causes;
	bool healthy = nb_doctor_is_known(examination) && nb_doctor_problems(examination) == 0;
	enum nb_status status = healthy ? written : NB_STATUS_FAILED;
	struct nb_screen screen;
	cJSON *object;

	nb_print_warnings(run);
	if (written != NB_STATUS_OK)
		nb_print_error(&run->error);
	if (run->options.json) {
		object = nb_doctor_to_json(run, examination);
		if (written != NB_STATUS_OK)
			nb_json_add_error(object, &run->error);
		nb_json_print(run, object);
	} else if (!run->options.quiet) {
		nb_screen_open(&screen, stdout);
		for (size_t i = 0; i < causes->count; i++)
			print_cause(&screen, &causes->items[i]);
		print_tried(&screen, &examination->diagnosis);
		print_sum(&screen, examination);
	}
	return nb_print_flush(status);
}
