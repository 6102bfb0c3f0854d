{{- define "adapter.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* The objects' name: the release's if that holds the chart's. */}}
{{- define "adapter.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $full := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{- default $full .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "adapter.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end -}}

{{/* A Deployment's selector cannot change: these are the community chart's. */}}
{{- define "adapter.selectorLabels" -}}
app.kubernetes.io/name: {{ include "adapter.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "adapter.labels" -}}
{{ include "adapter.selectorLabels" . }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- with .Values.customLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The metadata of an object, by (list $ SUFFIX NAMESPACED ANNOTATIONS): the name is the fullname and the suffix. */}}
{{- define "adapter.metadata" -}}
{{- $root := index . 0 -}}
name: {{ include "adapter.fullname" $root }}{{ index . 1 }}
{{- if index . 2 }}
namespace: {{ include "adapter.namespace" $root }}
{{- end }}
{{ include "adapter.commonMetadata" (list $root (index . 3)) }}
{{- end -}}

{{/* Labels and annotations, by (list $ ANNOTATIONS FURTHER-LABELS...). */}}
{{- define "adapter.commonMetadata" -}}
{{- $root := index . 0 -}}
labels:
  {{- include "adapter.labels" $root | nindent 2 }}
  {{- range slice . 2 }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge (dict) (index . 1) $root.Values.customAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "adapter.serviceAccountName" -}}
{{- $made := .Values.serviceAccount.create | ternary (include "adapter.fullname" .) "default" -}}
{{- default $made .Values.serviceAccount.name -}}
{{- end -}}

{{/* The subjects of a binding to our account. */}}
{{- define "adapter.subjects" -}}
subjects:
- {kind: ServiceAccount, name: {{ include "adapter.serviceAccountName" . }}, namespace: {{ include "adapter.namespace" . }}}
{{- end -}}

{{- define "adapter.image" -}}
{{- $image := .Values.image -}}
{{- $registry := default .Values.global.imageRegistry $image.registry -}}
{{- $name := empty $registry | ternary $image.repository (printf "%s/%s" $registry $image.repository) -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $name $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $name (default .Chart.AppVersion $image.tag) -}}
{{- end -}}
{{- end -}}

{{/* self, existingSecret, values or certManager. */}}
{{- define "adapter.tlsMethod" -}}
{{- $tls := .Values.tls -}}
{{- if and .Values.certManager.enabled (or $tls.enable (has $tls.method (list "existingSecret" "values"))) -}}
{{- fail (printf "certManager.enabled: expected alone, found tls.method %s and tls.enable %t as well" $tls.method $tls.enable) -}}
{{- else if .Values.certManager.enabled -}}
certManager
{{- else if and $tls.enable (has $tls.method (list "self" "values")) -}}
values
{{- else if $tls.enable -}}
{{- fail (printf "tls.enable: expected tls.method values or none, found %s" $tls.method) -}}
{{- else -}}
{{- $tls.method -}}
{{- end -}}
{{- end -}}

{{/* The Secret with the serving certificate. */}}
{{- define "adapter.tlsSecret" -}}
{{- if eq (include "adapter.tlsMethod" .) "existingSecret" -}}
{{- required "tls.existingSecret: expected the name of a Secret with tls.crt and tls.key for tls.method existingSecret" .Values.tls.existingSecret -}}
{{- else -}}
{{- include "adapter.fullname" . }}-tls
{{- end -}}
{{- end -}}

{{/* The authorities that kube-apiserver verifies the adapter by, PEM; nothing where they are published later. */}}
{{- define "adapter.ca" -}}
{{- $method := include "adapter.tlsMethod" . -}}
{{- if eq $method "values" -}}
{{- required "tls.ca: expected the authority of tls.certificate, PEM, for tls.method values" .Values.tls.ca -}}
{{- else if eq $method "existingSecret" -}}
{{- $name := include "adapter.tlsSecret" . -}}
{{- $secret := lookup "v1" "Secret" (include "adapter.namespace" .) $name -}}
{{- $held := dig "data" "ca.crt" "" $secret | b64dec -}}
{{- required (printf "tls.ca: expected the authority of the certificate in the Secret %s, PEM, as that has no ca.crt, or no cluster is asked" $name) (default $held .Values.tls.ca) -}}
{{- end -}}
{{- end -}}

{{/* Whether rules of a kind are given, by (list $ KIND). */}}
{{- define "adapter.hasRules" -}}
{{- $rules := (index . 0).Values.rules -}}
{{- $kind := index . 1 -}}
{{- $given := or (index $rules $kind) (and (eq $kind "custom") $rules.default) -}}
{{- if $rules.existing -}}
{{- $given = eq $kind "custom" -}}
{{- end -}}
{{- range $rules.presets -}}
{{- $given = or $given (eq $kind (ternary "resource" "custom" (eq . "kube-prometheus-resource"))) -}}
{{- end -}}
{{- if $given -}}true{{- end -}}
{{- end -}}

{{/* The APIServices to make: {"NAME": {group, version, priority, adopt}}. */}}
{{- define "adapter.apiServices" -}}
{{- $root := . -}}
{{- $made := dict -}}
{{- range $kind, $group := dict "custom" "custom.metrics.k8s.io" "external" "external.metrics.k8s.io" "resource" "metrics.k8s.io" -}}
{{- $wish := index $root.Values.apiServices $kind -}}
{{- $create := eq (toString $wish.create) "true" -}}
{{- if and (eq (toString $wish.create) "auto") (include "adapter.hasRules" (list $root $kind)) -}}
{{- $create = true -}}
{{- end -}}
{{- if $create -}}
{{- range $index, $version := default (list "v1beta1") $wish.versions -}}
{{- $_ := set $made (printf "%s.%s" $version $group) (dict "group" $group "version" $version "priority" (mul 100 (add1 $index)) "adopt" $wish.adopt "kind" $kind) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $made -}}
{{- end -}}

{{/* Who else owns an APIService, by (list $ NAME); nothing if it is not there, or ours. */}}
{{- define "adapter.otherOwner" -}}
{{- $root := index . 0 -}}
{{- $live := lookup "apiregistration.k8s.io/v1" "APIService" "" (index . 1) -}}
{{- if $live -}}
{{- $annotations := default dict $live.metadata.annotations -}}
{{- $release := index $annotations "meta.helm.sh/release-name" -}}
{{- $releaseNamespace := index $annotations "meta.helm.sh/release-namespace" -}}
{{- $service := default dict $live.spec.service -}}
{{- $ours := and (eq (toString $release) $root.Release.Name) (eq (toString $releaseNamespace) $root.Release.Namespace) -}}
{{- if not $ours -}}
the Service {{ default "(none)" $service.namespace }}/{{ default "(none)" $service.name }}
{{- if $release }} of the Helm release {{ $release }} in the namespace {{ $releaseNamespace }}{{ end }}
{{- end -}}
{{- end -}}
{{- end -}}
