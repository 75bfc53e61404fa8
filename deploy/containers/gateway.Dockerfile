# The gateway of one patient. It listens to nobody; its exit status says how it ended.
#   docker build -f deploy/containers/gateway.Dockerfile -t duoveil/gateway .
# The first stage has a C compiler for the native arithmetic, the last one nothing that is not needed to run.
ARG NODE=20.20.2

FROM node:${NODE}-bookworm AS build
WORKDIR /src
COPY . .
RUN npm ci --workspace @duoveil/gateway --include-workspace-root --ignore-scripts \
 && node common/scripts/build-native.mjs \
 && npx tsc --build gateway \
 && npm ci --workspace @duoveil/gateway --omit dev --ignore-scripts

FROM node:${NODE}-bookworm-slim
ENV NODE_ENV=production
WORKDIR /opt/duoveil
COPY --from=build /src/node_modules ./node_modules
COPY --from=build /src/proto/package.json ./proto/
COPY --from=build /src/proto/dist ./proto/dist
COPY --from=build /src/common/package.json ./common/
COPY --from=build /src/common/dist ./common/dist
COPY --from=build /src/common/build ./common/build
COPY --from=build /src/gateway/package.json ./gateway/
COPY --from=build /src/gateway/dist ./gateway/dist
RUN install --directory --owner=node --group=node --mode=0700 /var/lib/duoveil
USER node
VOLUME /var/lib/duoveil

ENTRYPOINT ["node", "/opt/duoveil/gateway/dist/main.js"]
CMD ["--help"]
